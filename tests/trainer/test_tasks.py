"""How tasks are dealt to the parts of a run."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from tests.trainer import small
from tests.trainer.fakes import FakeExecutor
from trainer import family, tasks
from trainer.pipeline import Pipeline
from trainer.recipe import Recipe
from trainer.records import write_lines
from trainer.run_folder import open_run
from trainer.sampling.assembly import Samplers
from trainer.screen import Screen


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """With a file that has every task twice."""
    once = list(family.generate({"train": 12}, seed=1))
    again = [{**task, "task_id": f"again/{task['task_id']}"} for task in once]
    write_lines(tmp_path / "problems.jsonl", [*once, *again])
    changes = {
        "tasks": {"problems": str(tmp_path / "problems.jsonl"), "start": 2, "train": 0, "held_out": 5},
        "training": {"rounds": 1},
    }
    return Recipe.model_validate({**small.recipe(tmp_path).model_dump(), **changes})


def test_a_held_out_task_under_another_name_trains_nothing(recipe: Recipe, tmp_path: Path) -> None:
    """Of a file that has every task twice, no prompt is on both sides."""
    parts = tasks.deal(recipe, tmp_path)
    shown = {problem.prompt for problem in parts.held_out}
    assert len(parts.held_out) == 5
    assert not shown & {problem.prompt for problem in [*parts.start, *parts.train]}
    assert len(parts.start) + len(parts.train) == 2 * (12 - len(shown))
    assert parts.like_held_out == 2 * 12 - 5 - len(parts.start) - len(parts.train) > 0


def test_tasks_that_are_left_out_for_it_are_counted(recipe: Recipe, tmp_path: Path) -> None:
    """In one line at the start, and in the folder of the tasks."""
    console = Console(file=io.StringIO(), width=200)
    folder = open_run(recipe)
    with Samplers(recipe) as samplers:
        Pipeline(recipe, folder, FakeExecutor().connect, Screen(console), samplers).make_tasks()
    folder.close()
    count = tasks.deal(recipe, tmp_path).like_held_out
    assert f"{count} tasks that read like held-out ones train nothing" in console.file.getvalue()  # type: ignore[attr-defined]
    assert json.loads((folder.path / "tasks/metrics.json").read_text()) == {"like_held_out": count}
