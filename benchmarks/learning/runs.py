"""The runs behind `benchmarks.learning`: for each seed one start and one set of samples, which every objective is trained on.

    FOLDER/seed-11/start             tasks, start/model, start/evaluation
    FOLDER/seed-11/samples-1         + round-1/samples: every training task, sampled from the start
    FOLDER/seed-11/samples-3         + round-1/samples of the first of three rounds
    FOLDER/seed-11/offline-rrtf-...  + round-1/model, round-1/evaluation
    FOLDER/seed-11/iterated-...      + the rounds

Each is a run folder of the trainer, in which the stages that it shares are links. A stage that is there is not repeated; where
the recipe has changed meanwhile, the trainer takes another folder. Several processes may share a folder, with seeds of their own.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from trainer.errors import RunFolderInUse
from trainer.execution import Connect
from trainer.pipeline import Pipeline, round_name
from trainer.recipe import Recipe
from trainer.records import read_outcomes
from trainer.run_folder import RunFolder, open_run
from trainer.sampling.assembly import Samplers
from trainer.screen import Screen

type Solved = tuple[bool, ...]
"""Whether each held-out task was solved, in the order of the tasks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Arm:
    """One way to train: an objective with its settings, and a learning rate."""

    name: str
    objective: Mapping[str, Any]
    learning_rate: float


def _wait() -> None:
    time.sleep(1)


class Runs:
    """Trains and evaluates, or reads what is there."""

    def __init__(self, base: Recipe, folder: Path, connect: Connect, wait: Callable[[], None] = _wait) -> None:
        self._base, self._folder, self._connect, self._wait = base, folder, connect, wait

    def start(self, seed: int) -> Solved:
        """The supervised start of a seed."""
        return _solved(self._start(seed), "start")

    def offline(self, seed: int, arm: Arm) -> Solved:
        """One round: every training task was sampled from the start."""
        return self._rounds(seed, arm, 1, "offline")

    def iterated(self, seed: int, arm: Arm, rounds: int) -> Solved:
        """The end of several rounds, each on a share of the tasks, sampled from the model of the round before."""
        return self._rounds(seed, arm, rounds, "iterated")

    def _rounds(self, seed: int, arm: Arm, rounds: int, kind: str) -> Solved:
        sampled = self._sampled(seed, rounds)
        training = {"rounds": rounds, "learning_rate": arm.learning_rate}
        name = f"{kind}-{arm.name}-{arm.learning_rate:g}"
        recipe = self._recipe(seed, name, training=training, objective=arm.objective)
        path = self._run(recipe, {**_links(self._start(seed)), "round-1/samples": sampled}, _train_rounds)
        return _solved(path, round_name(rounds))

    def _start(self, seed: int) -> Path:
        return self._run(self._recipe(seed, "start"), {}, _make_start)

    def _sampled(self, seed: int, rounds: int) -> Path:
        recipe = self._recipe(seed, f"samples-{rounds}", training={"rounds": rounds})
        return self._run(recipe, _links(self._start(seed)), lambda pipeline, _: pipeline.sample(1))

    def _recipe(self, seed: int, name: str, **changes: Mapping[str, Any]) -> Recipe:
        data = self._base.model_dump()
        data["run"] |= {"seed": seed, "name": name, "folder": str(self._folder / f"seed-{seed}")}
        data["training"] |= changes.get("training", {})
        data["objective"] = dict(changes.get("objective", data["objective"]))
        return Recipe.model_validate(data)

    def _run(self, recipe: Recipe, links: Mapping[str, Path], stages: Callable[[Pipeline, Recipe], None]) -> Path:
        with closing(self._open(recipe)) as folder:
            for stage, source in links.items():
                _link(folder, stage, source)
            stages(Pipeline(recipe, folder, self._connect, Screen(Console(quiet=True)), Samplers(recipe)), recipe)
            return folder.path

    def _open(self, recipe: Recipe) -> RunFolder:
        """Waits for another comparison that makes the same run: it will then be there."""
        while True:
            try:
                return open_run(recipe)
            except RunFolderInUse:
                self._wait()


def _make_start(pipeline: Pipeline, _: Recipe) -> None:
    pipeline.make_tasks()
    pipeline.train_start()
    pipeline.evaluate(0)


def _train_rounds(pipeline: Pipeline, recipe: Recipe) -> None:
    for number in range(1, recipe.training.rounds + 1):
        pipeline.sample(number)
        pipeline.train_round(number)
        pipeline.evaluate(number)


def _links(start: Path) -> dict[str, Path]:
    return {"tasks": start, "start": start}


def _link(folder: RunFolder, stage: str, source: Path) -> None:
    if not folder.is_done(stage):
        (folder.path / stage).parent.mkdir(exist_ok=True)
        (folder.path / stage).symlink_to((source / stage).resolve())


def _solved(path: Path, name: str) -> Solved:
    return tuple(outcome.verdict == "passed" for outcome in read_outcomes(path / name / "evaluation" / "outcomes.jsonl"))
