"""What a run comes to, gathered from what its stages wrote: the table at the end, and the numbers of the report."""

from typing import Any

from rich.table import Table

from trainer.recipe import Recipe
from trainer.records import read_lines
from trainer.run_folder import RunFolder

VERDICT_ORDER = ("passed", "wrong_answer", "runtime_error", "compile_error")


def summarise(recipe: Recipe, folder: RunFolder) -> dict[str, Any]:
    """Numbers of every round (0: the supervised start) and seconds of every stage; JSON-ready."""
    rounds = [_round(folder, number) for number in range(recipe.training.rounds + 1)]
    before, after = rounds[0]["pass_at_1"], rounds[-1]["pass_at_1"]
    return {
        "name": recipe.run.name,
        "seed": recipe.run.seed,
        "pass_at_1_before": before,
        "pass_at_1_after": after,
        "held_out_tasks": rounds[0]["held_out_tasks"],
        "programs": sum(item.get("programs", 0) for item in rounds),
        "seconds": round(sum(sum(item["seconds"].values()) for item in rounds), 1),
        "rounds": rounds,
    }


def table(summary: dict[str, Any]) -> Table:
    """One row for each round."""
    result = Table(title="pass@1 on held-out tasks, every program run in a jail", title_justify="left")
    for column in (
        "",
        "pass@1",
        "candidates' verdicts",
        "pairs",
        "active first-last",
        "programs/s",
        "sample",
        "train",
        "evaluate",
    ):
        result.add_column(column, justify="left" if column in ("", "candidates' verdicts") else "right")
    for item in summary["rounds"]:
        seconds = {name: f"{value:.1f} s" for name, value in item["seconds"].items()}
        result.add_row(
            f"round {item['round']}" if item["round"] else "start",
            f"{item['pass_at_1']:.1%}",
            _mix(item.get("verdicts", {})),
            str(item.get("pairs", "")),
            f"{item['active_first']:.0%} - {item['active_last']:.0%}" if "active_first" in item else "",
            f"{item['programs_per_second']:.0f}" if "programs_per_second" in item else "",
            seconds.get("samples", ""),
            seconds.get("model", ""),
            seconds.get("evaluation", ""),
        )
    return result


def _round(folder: RunFolder, number: int) -> dict[str, Any]:
    name = f"round-{number}" if number else "start"
    evaluation = folder.read(f"{name}/evaluation", "metrics.json")
    stages = [stage for stage in ("samples", "model", "evaluation") if folder.is_done(f"{name}/{stage}")]
    seconds = {stage: folder.read(f"{name}/{stage}", "time.json")["seconds"] for stage in stages}
    if number == 0:
        seconds["tasks"] = folder.read("tasks", "time.json")["seconds"]
    item: dict[str, Any] = {
        "round": number,
        "pass_at_1": evaluation["pass_at_1"],
        "held_out_tasks": evaluation["tasks"],
        "held_out_verdicts": evaluation["verdicts"],
        "seconds": seconds,
    }
    if "samples" in stages:
        item |= folder.read(f"{name}/samples", "metrics.json")
    if "model" in stages:
        item |= _losses(list(read_lines(folder.path / name / "model" / "steps.jsonl")))
    return item


def _losses(steps: list[dict[str, float]]) -> dict[str, Any]:
    if not steps:
        return {}
    tenth = max(1, len(steps) // 10)
    found: dict[str, Any] = {
        "steps": len(steps),
        "loss_first": _mean(steps[:tenth], "loss"),
        "loss_last": _mean(steps[-tenth:], "loss"),
    }
    if "pairs" in steps[0]:
        third = max(1, len(steps) // 3)
        found |= {"rank_mean": _mean(steps, "rank"), "ft_mean": _mean(steps, "ft")}
        found |= {"active_first": _active(steps[:third]), "active_last": _active(steps[-third:])}
    return found


def _mean(steps: list[dict[str, float]], name: str) -> float:
    return sum(step[name] for step in steps) / len(steps)


def _active(steps: list[dict[str, float]]) -> float:
    return sum(step["active_pairs"] for step in steps) / max(1, sum(step["pairs"] for step in steps))


def _mix(verdicts: dict[str, int]) -> str:
    total = sum(verdicts.values())
    known = [name for name in VERDICT_ORDER if name in verdicts]
    others = sum(count for name, count in verdicts.items() if name not in VERDICT_ORDER)
    parts = [f"{name.replace('_', ' ')} {verdicts[name] / total:.0%}" for name in known]
    return ", ".join(parts + ([f"other {others / total:.0%}"] if others else []))
