"""The generated tasks: fair tests, right solutions, and held-out tasks that were never seen."""

from typing import Any

import pytest

from trainer.family import generate
from trainer.primitives import PRIMITIVES

COUNTS = {"start": 120, "train": 120, "held_out": 60}


@pytest.fixture(scope="module")
def tasks() -> list[dict[str, str]]:
    return generate(COUNTS, 5)


def solve_and_check(task: dict[str, str], body: str) -> None:
    """Runs the tests of a task in this process; only on bodies written here or by the family."""
    space: dict[str, Any] = {}
    exec(task["prompt"] + body + task["test"], space)
    space["check"](space[task["entry_point"]])


def combination(task: dict[str, str]) -> tuple[str, ...]:
    """The lines of the solution with their numbers blanked, in any order."""
    lines = [line.split("= ", 1)[-1].removeprefix("    return ") for line in task["canonical_solution"].splitlines()]
    return tuple(sorted("".join("#" if char.isdigit() else char for char in line) for line in lines))


def test_every_gold_solution_solves_its_tests(tasks: list[dict[str, str]]) -> None:
    """In this process, where only the family's own text runs."""
    for task in tasks:
        solve_and_check(task, task["canonical_solution"])


def test_no_held_out_combination_occurs_in_another_part(tasks: list[dict[str, str]]) -> None:
    """Whoever solves a held-out task has composed what it saw."""
    held_out = {combination(task) for task in tasks if task["part"] == "held_out"}
    seen = {combination(task) for task in tasks if task["part"] != "held_out"}
    assert not held_out & seen


@pytest.mark.parametrize("body", ["    return {name}\n", "    return 0\n", "    return ''\n", "    return []\n", "    pass\n"])
def test_no_trivial_program_solves_a_task(tasks: list[dict[str, str]], body: str) -> None:
    """Neither the identity nor a constant."""
    for task in tasks:
        name = task["prompt"].partition("(")[2].partition(")")[0]
        with pytest.raises(AssertionError):
            solve_and_check(task, body.format(name=name))


def test_every_task_has_differing_outputs(tasks: list[dict[str, str]]) -> None:
    """At least three among its tests, so no constant solves it."""
    for task in tasks:
        outputs = [line.partition(" == ")[2] for line in task["test"].splitlines()[1:]]
        assert len(set(outputs)) >= 3


def test_prompts_are_distinct(tasks: list[dict[str, str]]) -> None:
    """No task is told twice in the same words."""
    assert len({task["prompt"] for task in tasks}) == len(tasks)


def test_the_same_seed_gives_the_same_tasks(tasks: list[dict[str, str]]) -> None:
    """And another seed others."""
    assert generate(COUNTS, 5) == tasks
    assert generate(COUNTS, 6) != tasks


def test_each_part_gets_its_count(tasks: list[dict[str, str]]) -> None:
    """Neither more nor fewer."""
    assert {part: sum(task["part"] == part for task in tasks) for part in COUNTS} == COUNTS


def test_the_names_of_primitives_are_distinct() -> None:
    """Combinations are told apart by them."""
    assert len({primitive.name for primitive in PRIMITIVES}) == len(PRIMITIVES)
