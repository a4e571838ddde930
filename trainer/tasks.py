"""The tasks of a run: generated or read from a file, dealt to three parts, and checked.

start      trains the supervised start
train      is for the ranking rounds, a share for each
held_out   is for evaluation alone: tasks that read like one of these train nothing, whatever their names are

A task is used only where its own solution passes its tests in the engine. Generated tasks take the same way as
anybody's: they are written as a problems file and read back by the engine's reader.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.client import EngineError, Problem, Verdict, read_problems
from trainer import family
from trainer.errors import TasksError
from trainer.execution import Advance, Connect, execute_gold
from trainer.progress import Progress
from trainer.recipe import GENERATED, Recipe
from trainer.records import Outcome, write_lines
from trainer.run_folder import write_json
from trainer.seeds import derive_seed

PROBLEMS = "problems.jsonl"
PARTS = ("start", "train", "held_out")


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    start: list[Problem]
    train: list[Problem]
    held_out: list[Problem]
    like_held_out: int = 0
    """How many more there were, which read like a held-out one under another name and so train nothing."""


def write_generated(recipe: Recipe, path: Path) -> None:
    """Writes the generated family as a problems file, where the recipe asks for it."""
    settings = recipe.tasks
    if settings.problems == GENERATED:
        counts = {"start": settings.start, "train": settings.train, "held_out": settings.held_out}
        write_lines(path, family.generate(counts, derive_seed(recipe.run.seed, "tasks")))


def deal(recipe: Recipe, generated: Path) -> Parts:
    """The parts, unchecked; `generated` is where generated problems lie. Raises TasksError."""
    settings = recipe.tasks
    if settings.problems == GENERATED:
        problems = read(str(generated))
        start, train, held_out = ([p for p in problems if p.task_id.startswith(f"{part}/")] for part in PARTS)
        return Parts(start=start, train=train, held_out=held_out)
    problems = [problem for problem in read(settings.problems) if problem.gold]
    random.Random(derive_seed(recipe.run.seed, "tasks")).shuffle(problems)
    count = len(problems)
    if settings.held_out_problems:
        held_out = read(settings.held_out_problems, "tasks.held_out_problems")[: settings.held_out]
    else:
        held_out, problems = problems[: settings.held_out], problems[settings.held_out :]
    like_held_out = len(problems) - len(problems := _others(problems, held_out))
    start, rest = (problems[: settings.start], problems[settings.start :]) if recipe.sft.epochs else ([], problems)
    rounds = recipe.training.rounds
    if len(rest) < rounds:
        taken = f"held_out = {settings.held_out} and start = {settings.start}, which leaves {len(rest)} for {rounds} rounds"
        raise TasksError(f"tasks: {settings.problems} has {count} problems with a solution; {taken}: lower one of these")
    parts = Parts(start=start, train=rest[: settings.train or None], held_out=held_out, like_held_out=like_held_out)
    if twice := {p.task_id for p in parts.held_out} & {p.task_id for p in [*parts.start, *parts.train]}:
        raise TasksError(f"tasks.held_out_problems: the task {min(twice)!r} is one of tasks.problems too; take another file")
    return parts


def _others(problems: Sequence[Problem], held_out: Sequence[Problem]) -> list[Problem]:
    """Those that do not read like a held-out one under another name."""
    names = {problem.prompt.strip(): problem.task_id for problem in held_out if problem.prompt.strip()}
    return [problem for problem in problems if names.get(problem.prompt.strip(), problem.task_id) == problem.task_id]


def check(parts: Parts, recipe: Recipe, connect: Connect, folder: Path, on_executed: Advance, progress: Progress) -> None:
    """Runs every gold solution and writes gold.jsonl, and parts.json with the ids of the tasks that may be used.

    Raises TasksError where a part that is needed has none left.
    """
    problems = [problem for part in (parts.start, parts.train, parts.held_out) for problem in part]
    outcomes = execute_gold([problem for problem in problems if problem.gold], connect, recipe.engine, on_executed, progress)
    passed = {outcome.candidate.task_id for outcome in outcomes if outcome.verdict == Verdict.PASSED.value}
    usable = {name: [p.task_id for p in getattr(parts, name) if p.task_id in passed] for name in PARTS}
    needed = ["train", "held_out"] + (["start"] if recipe.sft.epochs else [])
    for name in needed:
        if not usable[name]:
            raise TasksError(f"tasks.{name}: no task is left whose own solution passes its tests ({_first_failure(outcomes)})")
    write_lines(folder / "gold.jsonl", outcomes)
    write_json(folder / "parts.json", usable)


def keep(parts: Parts, usable: dict[str, list[str]]) -> Parts:
    """Only the tasks that were found usable."""

    def kept(name: str, problems: Sequence[Problem]) -> list[Problem]:
        ids = set(usable[name])
        return [problem for problem in problems if problem.task_id in ids]

    return Parts(start=kept("start", parts.start), train=kept("train", parts.train), held_out=kept("held_out", parts.held_out))


def share(problems: Sequence[Problem], round_number: int, rounds: int) -> list[Problem]:
    """The tasks of one round, the first being 1: every task falls into one round."""
    return list(problems[round_number - 1 :: rounds])


def read(path: str, key: str = "tasks.problems") -> list[Problem]:
    """The problems of a file, in its order. Raises TasksError, which names the setting `key`."""
    if not Path(path).is_file():
        raise TasksError(f"{key}: there is no file {path}")
    try:
        return list(read_problems(path).values())
    except EngineError as error:
        raise TasksError(str(error)) from error


def _first_failure(outcomes: Sequence[Outcome]) -> str:
    failed = [outcome for outcome in outcomes if outcome.verdict != Verdict.PASSED.value]
    return f"{failed[0].candidate.task_id}: {failed[0].verdict}" if failed else "there are no tasks"
