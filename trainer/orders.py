"""A training stage as an order that every process can carry out; how the others hear of it, and when they are done.

The first process goes through the stages of the run. Whenever one of them trains, it sends the order, and all train together.
When it leaves, for whatever reason, it says so, and the others leave as well.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from trainer import language_model, lora
from trainer.checkpoint import Checkpoints
from trainer.errors import TrainerError, TrainingError
from trainer.language_model import LanguageModel
from trainer.objectives.chosen import loss_of
from trainer.objectives.settings import Objective
from trainer.processes import Alone, Processes, Together, is_several, launcher_asks_for_shards
from trainer.recipe import Lora, Recipe, Run
from trainer.records import RankedTask
from trainer.seeds import derive_seed
from trainer.sharding import Sharded
from trainer.training import Schedule, train


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    source: str
    """Folder or hub id of the model to train; empty: a new one."""
    examples: tuple[RankedTask, ...]
    objective: Objective
    schedule: Schedule
    lora: Lora | None
    seed: int


class Crew:
    """This process and those that follow it."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes

    def __str__(self) -> str:
        processes = self._processes
        holds = f", each with {processes.holds}" if isinstance(processes, Together) else ""
        return f"{processes.size} processes{holds}"

    def carry_out(self, order: Order, model: LanguageModel, checkpoints: Checkpoints) -> Iterator[dict[str, float]]:
        """Trains the model in place; yields the metrics of each step."""
        if isinstance(self._processes, Together):
            self._processes.tell((order, checkpoints.path))
        yield from _carry_out(order, model, self._processes, checkpoints)


ALONE = Crew(Alone())


@contextmanager
def lead_or_follow(recipe: Recipe) -> Iterator[Crew | None]:
    """The crew that this process leads; None in a process that follows, once there is nothing left to do."""
    if not is_several():
        yield ALONE
        return
    processes = _together(recipe)
    if processes.rank:
        _follow(recipe, processes)
        processes.leave()
        yield None
        return
    try:
        yield Crew(processes)
    except TrainerError:  # anything else ends this process, and the launcher the others
        _dismiss(processes)
        raise
    _dismiss(processes)


def set_up_torch(run: Run) -> None:
    """What the recipe says of how a process computes. Those of one machine share its cores."""
    torch.use_deterministic_algorithms(run.deterministic)
    cores = len(os.sched_getaffinity(0)) - 1
    torch.set_num_threads(run.threads or max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))


def _dismiss(processes: Together) -> None:
    processes.tell(None)
    processes.leave()


def _together(recipe: Recipe) -> Together:
    if recipe.training.shard_weights or launcher_asks_for_shards():
        return Sharded(recipe.run.device, recipe.training.precision)
    return Together(recipe.run.device)


def untrained(recipe: Recipe, examples: tuple[RankedTask, ...]) -> LanguageModel:
    """The model that the recipe begins with: loaded, or new with a tokenizer for the examples."""
    settings, run = recipe.model, recipe.run
    if settings.path:
        return language_model.load(settings.path, settings.dtype, run.device)
    texts = [example.prompt + example.responses[0].completion for example in examples]
    return language_model.new(settings, texts, derive_seed(run.seed, "model"), run.device)


def _follow(recipe: Recipe, processes: Together) -> None:
    set_up_torch(recipe.run)
    nothing: tuple[Order, Path] | None = None
    while (told := processes.tell(nothing)) is not None:
        order, checkpoint = told
        run = recipe.run
        checkpoints = Checkpoints(path=checkpoint, every_ms=run.checkpoint_ms, every_steps=run.checkpoint_steps)
        try:
            for _ in _carry_out(order, _source(order, recipe, processes), processes, checkpoints):
                pass
        except TrainingError:  # the first process has it as well, and says so
            pass


def _source(order: Order, recipe: Recipe, processes: Together) -> LanguageModel:
    """What a process that follows begins with; where weights are shared out, it gets its own from the first one."""
    if not order.source:
        return untrained(recipe, order.examples)
    if isinstance(processes, Sharded):
        return language_model.without_weights(order.source, recipe.model.dtype)
    return language_model.load(order.source, recipe.model.dtype, recipe.run.device)


def _carry_out(order: Order, model: LanguageModel, processes: Processes, checkpoints: Checkpoints) -> Iterator[dict[str, float]]:
    if order.lora:
        lora.attach(model, order.lora, order.seed)
    yield from train(
        model,
        order.examples,
        loss_of(order.objective),
        order.schedule,
        order.seed,
        needs_reference=order.objective.needs_reference,
        processes=processes,
        checkpoints=checkpoints,
    )
