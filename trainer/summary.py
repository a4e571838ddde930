"""What a run comes to, gathered from what its stages wrote: the table at the end, and the numbers of the report."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from engine.client import Verdict
from trainer.bootstrap import interval
from trainer.ranking import CUT_OFF, NO_VERDICT
from trainer.recipe import Recipe
from trainer.records import read_lines, read_outcomes
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


def tables(summary: dict[str, Any]) -> list[Table]:
    """What was learnt, and how long it took; one row for each round."""
    cut_off = ("cut off",) if any(item.get("verdicts", {}).get(CUT_OFF) for item in summary["rounds"]) else ()
    learnt = _table("", "pass@1", "passed", "wrong", "runtime", "compile", *cut_off, "other", "pairs", "active")
    work = _table("", "programs", "programs/s", "sampling", "training", "evaluation", "tasks")
    for item in summary["rounds"]:
        name = f"round {item['round']}" if item["round"] else "start"
        active = f"{item['active']:.0%}" if "active" in item else ""
        mix = _mix(item.get("verdicts", {}), (*VERDICT_ORDER, CUT_OFF) if cut_off else VERDICT_ORDER)
        learnt.add_row(name, f"{item['pass_at_1']:.1%}", *mix, str(item.get("pairs", "")), active)
        rate = f"{item['programs_per_second']:.0f}" if "programs_per_second" in item else ""
        stages = ("samples", "model", "evaluation", "tasks")
        times = [f"{item['seconds'][stage]:.1f} s" if stage in item["seconds"] else "" for stage in stages]
        work.add_row(name, str(item.get("programs", "")), rate, *times)
    return [learnt, work]


def hints(summary: dict[str, Any], max_response_tokens: int) -> list[str]:
    """What the numbers advise; nothing, where there are fewer candidates cut off than of some verdict."""
    total: Counter[str] = Counter()
    for item in summary["rounds"]:
        total.update(item.get("verdicts", {}))
    if not total[CUT_OFF] or total[CUT_OFF] < max(total.values()):
        return []
    share = (
        f"{total[CUT_OFF] / total.total():.0%} of the candidates were cut off at {max_response_tokens} tokens and so not ranked"
    )
    return [f"{share}: raise sampling.max_response_tokens"]


def _table(*columns: str) -> Table:
    result = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 0, 0, 1))  # fits into 80 columns
    for number, column in enumerate(columns):
        result.add_column(column, justify="right" if number else "left", no_wrap=True)
    return result


def _round(folder: RunFolder, number: int) -> dict[str, Any]:
    name = f"round-{number}" if number else "start"
    evaluation = folder.read(f"{name}/evaluation", "metrics.json")
    stages = [stage for stage in ("teacher", "samples", "model", "evaluation") if folder.is_done(f"{name}/{stage}")]
    seconds = {stage: folder.seconds(f"{name}/{stage}") for stage in stages}
    if number == 0:
        seconds["tasks"] = folder.seconds("tasks")
    item: dict[str, Any] = {
        "round": number,
        "pass_at_1": evaluation["pass_at_1"],
        "pass_at_1_band": interval(_solved(folder, name)),
        "held_out_tasks": evaluation["tasks"],
        "held_out_verdicts": evaluation["verdicts"],
        "seconds": seconds,
    }
    if "samples" in stages:
        item |= folder.read(f"{name}/samples", "metrics.json")
    if "model" in stages:
        item |= _losses(list(read_lines(folder.path / name / "model" / "steps.jsonl")))
    return item


def _solved(folder: RunFolder, name: str) -> list[float]:
    """Of each held-out task that counts for pass@1, whether its one response passed."""
    outcomes = read_outcomes(folder.path / name / "evaluation" / "outcomes.jsonl")
    return [float(outcome.verdict == Verdict.PASSED.value) for outcome in outcomes if Verdict(outcome.verdict) not in NO_VERDICT]


def _losses(made: list[dict[str, float]]) -> dict[str, Any]:
    """Of the steps whose loss is a number; others were skipped."""
    steps = [step for step in made if math.isfinite(step["loss"])]
    if not steps:
        return {"steps": len(made)} if made else {}
    tenth = max(1, len(steps) // 10)
    found: dict[str, Any] = {
        "steps": len(made),
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


def _mix(verdicts: dict[str, int], names: Sequence[str]) -> list[str]:
    """Shares of the named ones and of everything else."""
    total = sum(verdicts.values())
    counts = [verdicts.get(name, 0) for name in names]
    return [f"{count / total:.0%}" if total else "" for count in (*counts, total - sum(counts))]
