"""How tasks are dealt to the parts of a run."""

from pathlib import Path

from trainer import family, tasks
from trainer.recipe import Recipe
from trainer.records import write_lines


def test_a_held_out_task_under_another_name_trains_nothing(tmp_path: Path) -> None:
    """Of a file that has every task twice, no prompt is on both sides."""
    once = list(family.generate({"train": 12}, seed=1))
    again = [{**task, "task_id": f"again/{task['task_id']}"} for task in once]
    write_lines(tmp_path / "problems.jsonl", [*once, *again])
    recipe = Recipe.model_validate(
        {
            "tasks": {"problems": str(tmp_path / "problems.jsonl"), "start": 2, "train": 0, "held_out": 5},
            "training": {"rounds": 1},
        }
    )
    parts = tasks.deal(recipe, tmp_path)
    shown = {problem.prompt for problem in parts.held_out}
    assert len(parts.held_out) == 5
    assert not shown & {problem.prompt for problem in [*parts.start, *parts.train]}
    assert len(parts.start) + len(parts.train) == 2 * (12 - len(shown))
