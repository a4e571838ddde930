"""The end of a run: the table on the screen, summary.json, and report.html, one page that needs nothing from anywhere else.

    python -m trainer.report RUN [RUN...] [--out FILE.html]

makes the page of several runs, with their curves in one chart. The page is report_page.html with the runs' numbers and a
selection of their samples put in as JSON; its own script draws them.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any

from rich.console import Console

from engine.client import Problem
from trainer import tasks
from trainer.errors import RunFolderError, TrainerError
from trainer.flow import filters, verdict_flow
from trainer.ranking import score
from trainer.recipe import Recipe
from trainer.records import Outcome, read_lines, read_outcomes, read_ranked
from trainer.run_folder import RunFolder, finished_run
from trainer.screen import Screen
from trainer.summary import hints, summarise, tables

_SAMPLES_PER_STAGE = 240
_PLACE = "__DATA__"


def write_report(recipe: Recipe, folder: RunFolder, problems: Mapping[str, Problem], screen: Screen) -> None:
    """Writes report.html and summary.json, which marks the run as finished, and shows the table."""
    summary = summarise(recipe, folder)
    path = folder.path / "report.html"
    path.write_text(render([_data(recipe, folder, problems, summary)]), encoding="utf-8")
    folder.finish(summary)
    screen.title("What was learnt: pass@1 on held-out tasks, verdicts of the candidates, pairs")
    learnt, work = tables(summary)
    screen.console.print(learnt)
    for hint in hints(summary, recipe.sampling.max_response_tokens):
        screen.say(hint)
    screen.title("How long it took")
    screen.console.print(work)
    gain = (summary["pass_at_1_after"] - summary["pass_at_1_before"]) * 100
    before, after = summary["pass_at_1_before"], summary["pass_at_1_after"]
    screen.say(f"held-out pass@1 {before:.1%} -> [bold]{after:.1%}[/bold] ({gain:+.1f} points) in {summary['seconds']:.0f} s")
    screen.say(f"report: {path}")


def render(runs: Sequence[dict[str, Any]]) -> str:
    """The page with the data of one run or several; nothing in the data can end the script element that holds it."""
    page = resources.files("trainer").joinpath("report_page.html").read_text(encoding="utf-8")
    text = json.dumps(runs, ensure_ascii=False).replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return page.replace(_PLACE, text)


def _data(recipe: Recipe, folder: RunFolder, problems: Mapping[str, Problem], summary: dict[str, Any]) -> dict[str, Any]:
    names = ["start", *(f"round-{number}" for number in range(1, recipe.training.rounds + 1))]
    stages = [f"{name}/{stage}" for name in names for stage in ("samples", "evaluation")]
    samples = {stage: _samples(recipe, folder, stage) for stage in stages if folder.is_done(stage)}
    shown = {sample["task"] for stage in samples.values() for sample in stage}
    return {
        "summary": summary,
        "recipe": recipe.model_dump(mode="json"),
        "versions": json.loads((folder.path / "versions.json").read_text(encoding="utf-8")),
        "steps": {name: _steps(folder, name) for name in names if folder.is_done(f"{name}/model")},
        "tasks": {name: {"prompt": problems[name].prompt, "gold": problems[name].gold} for name in sorted(shown)},
        "samples": samples,
        "flows": _flows(folder, names),
        "filters": {name: _filters(folder, name) for name in names if folder.is_done(f"{name}/samples")},
    }


def _flows(folder: RunFolder, names: Sequence[str]) -> list[list[tuple[str, str, int]]]:
    """From each evaluation to the next."""
    outcomes = [_outcomes(folder, f"{name}/evaluation") for name in names]
    return [verdict_flow(before, after) for before, after in pairwise(outcomes)]


def _filters(folder: RunFolder, name: str) -> dict[str, int]:
    return filters(_outcomes(folder, f"{name}/samples"), read_ranked(folder.path / name / "samples" / "ranked.jsonl"))


def _outcomes(folder: RunFolder, stage: str) -> list[Outcome]:
    return read_outcomes(folder.path / stage / "outcomes.jsonl")


def _steps(folder: RunFolder, name: str) -> list[dict[str, float]]:
    return list(read_lines(folder.path / name / "model" / "steps.jsonl"))


def _samples(recipe: Recipe, folder: RunFolder, stage: str) -> list[dict[str, Any]]:
    outcomes = _outcomes(folder, stage)[:_SAMPLES_PER_STAGE]
    return [
        {
            "task": outcome.candidate.task_id,
            "code": outcome.candidate.completion,
            "verdict": outcome.verdict,
            "score": score(outcome, recipe.scoring),
            "temperature": outcome.candidate.temperature,
            "truncated": outcome.candidate.truncated,
            "tests": [outcome.tests_passed, outcome.tests_total],
            "error": outcome.error[-400:],
        }
        for outcome in outcomes
    ]


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m trainer.report", description="One page that compares finished runs.")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folders of finished runs")
    parser.add_argument("--out", type=Path, default=Path("comparison.html"), help="default comparison.html")
    options = parser.parse_args(arguments)
    try:
        page = render([_of_finished(path) for path in options.runs])
    except TrainerError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"error: {error}", markup=False)
        return 2
    options.out.write_text(page, encoding="utf-8")
    Console(highlight=False).print(f"report: {options.out}")
    return 0


def _of_finished(path: Path) -> dict[str, Any]:
    folder, recipe = finished_run(path)
    try:
        dealt = tasks.deal(recipe, path / "tasks" / tasks.PROBLEMS)
        problems = {problem.task_id: problem for part in (dealt.start, dealt.train, dealt.held_out) for problem in part}
        return _data(recipe, folder, problems, summarise(recipe, folder))
    except (OSError, KeyError) as error:
        raise RunFolderError(f"{path}: a file of the run is missing or older than this version ({error})") from error


if __name__ == "__main__":
    sys.exit(main())
