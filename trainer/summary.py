"""What a run comes to, gathered from what its stages wrote: the table at the end, and the numbers of the report."""

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from trainer.recipe import Recipe
from trainer.records import read_lines
from trainer.run_folder import RunFolder

_COLUMNS = ("pass@1", "pass", "wrong", "run err", "compile", "other", "pairs", "active", "runs/s", "sample", "train", "eval")
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
    """One row for each round; verdicts are those of its candidates, times are in seconds."""
    result = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    result.add_column("", no_wrap=True)
    for column in _COLUMNS:
        result.add_column(column, justify="right")
    for item in summary["rounds"]:
        name = f"round {item['round']}" if item["round"] else "start"
        rates = [f"{item['active']:.0%}" if "active" in item else "", _whole(item.get("programs_per_second"))]
        times = [_whole(item["seconds"].get(stage)) for stage in ("samples", "model", "evaluation")]
        result.add_row(
            name, f"{item['pass_at_1']:.1%}", *_mix(item.get("verdicts", {})), str(item.get("pairs", "")), *rates, *times
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
        found |= {"active": _active(steps), "active_first": _active(steps[:third]), "active_last": _active(steps[-third:])}
    return found


def _mean(steps: list[dict[str, float]], name: str) -> float:
    return sum(step[name] for step in steps) / len(steps)


def _active(steps: list[dict[str, float]]) -> float:
    return sum(step["active_pairs"] for step in steps) / max(1, sum(step["pairs"] for step in steps))


def _whole(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


def _mix(verdicts: dict[str, int]) -> list[str]:
    """Shares of the four levels and of everything else."""
    total = sum(verdicts.values())
    counts = [verdicts.get(name, 0) for name in VERDICT_ORDER]
    return [f"{count / total:.0%}" if total else "" for count in (*counts, total - sum(counts))]
