"""The processes that train together: one, or several that a launcher started (`torchrun`, `accelerate launch`).

Each takes its share of a step's prompts and all end with the same weights. Here each has a copy of them; trainer.sharding has
what shares them out. The first process alone samples, runs programs and writes; the others wait for its orders (see
trainer.orders).
"""

import os
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import Any, Protocol

import torch

from trainer.checkpoint import State, state_of, take_up
from trainer.language_model import LanguageModel
from trainer.logprobs import Scorer, Shortcuts, scorer_of

_PATIENCE = timedelta(days=7)
"""How long a process waits for the first one, which may be sampling."""


class Processes(Protocol):
    """What the training loop asks of them."""

    rank: int
    size: int

    def prepare(self, model: LanguageModel, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        """Makes the model one that is trained together; from here on its scorer is the only way to compute with it."""

    def summing(self, *, last: bool) -> AbstractContextManager[object]:
        """Around one of a step's backward passes; the last one brings the gradients together, as their mean."""

    def clip(self, model: LanguageModel, most: float) -> float:
        """Shortens the gradient to `most`; gives its norm before."""

    def gather[Item](self, item: Item) -> list[Item]:
        """What each process gives, in the order of their ranks."""

    def state(self, network: Any, optimizer: torch.optim.Optimizer) -> State:
        """The training as a checkpoint holds it, whole in the first process; every process has to ask."""

    def take_up(self, state: State, network: Any, optimizer: torch.optim.Optimizer) -> None:
        """Brings both to where the state stands, which every process has."""

    def finish(self, model: LanguageModel) -> None:
        """Makes the model a plain one again; in the first process it has all weights."""


class Alone:
    """One process, and nothing in between."""

    rank, size = 0, 1

    def prepare(self, model: LanguageModel, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        scorer_of(model)
        return optimizer

    def summing(self, *, last: bool) -> AbstractContextManager[object]:
        return nullcontext()

    def clip(self, model: LanguageModel, most: float) -> float:
        return float(torch.nn.utils.clip_grad_norm_(model.scorer.parameters(), most))

    def gather[Item](self, item: Item) -> list[Item]:
        return [item]

    def state(self, network: Any, optimizer: torch.optim.Optimizer) -> State:
        return state_of(network, optimizer)

    def take_up(self, state: State, network: Any, optimizer: torch.optim.Optimizer) -> None:
        take_up(state, network, optimizer)

    def finish(self, model: LanguageModel) -> None:
        pass


class Together:
    """Several processes, each with a copy of the weights, through accelerate."""

    holds = "a copy of the weights"
    """What each of them has while it trains."""

    def __init__(self, device: str) -> None:
        from accelerate import Accelerator, InitProcessGroupKwargs

        self._accelerator = Accelerator(cpu=device == "cpu", kwargs_handlers=[InitProcessGroupKwargs(timeout=_PATIENCE)])
        self.rank, self.size = self._accelerator.process_index, self._accelerator.num_processes
        self.device: torch.device = self._accelerator.device
        self._scorer: torch.nn.Module | None = None
        self._talk: Any = torch.distributed.new_group(backend="gloo", timeout=_PATIENCE)

    def prepare(self, model: LanguageModel, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        self._scorer, prepared = self._accelerator.prepare(self._scorer_of(model), optimizer)
        model.scorer = self._scorer
        return prepared  # type: ignore[no-any-return] # accelerate's prepare is untyped

    def summing(self, *, last: bool) -> AbstractContextManager[object]:
        return nullcontext() if last else self._accelerator.no_sync(self._scorer)

    def clip(self, model: LanguageModel, most: float) -> float:
        return float(self._accelerator.clip_grad_norm_(model.scorer.parameters(), most))

    def gather[Item](self, item: Item) -> list[Item]:
        items: list[Any] = [None] * self.size
        torch.distributed.all_gather_object(items, item, group=self._talk)
        return items

    def state(self, network: Any, optimizer: torch.optim.Optimizer) -> State:
        return state_of(network, optimizer)

    def take_up(self, state: State, network: Any, optimizer: torch.optim.Optimizer) -> None:
        take_up(state, network, optimizer)

    def finish(self, model: LanguageModel) -> None:
        model.scorer = self._scorer = None
        self._accelerator.free_memory()

    def tell[Item](self, item: Item) -> Item:
        """Gives every process what the first one says."""
        items: list[Any] = [item]
        torch.distributed.broadcast_object_list(items, src=0, group=self._talk)
        told: Item = items[0]
        return told

    def _scorer_of(self, model: LanguageModel) -> torch.nn.Module:
        """The model's scorer, with the shortcuts that the first process found.

        A process that follows may have no weights to try them on yet. And what a step is divided by depends on them, so
        processes that disagreed would train tasks twice or never.
        """
        found: Shortcuts | None = None
        if self.rank == 0:
            first: Any = scorer_of(model)
            found = first.shortcuts
        told = self.tell(found)
        assert told is not None, "the first process said which shortcuts it found"
        if self.rank:
            model.scorer = Scorer(model.network, told)
        return scorer_of(model)

    def leave(self) -> None:
        """The last call, in every process. Until then a thread of gloo's may still hold what was said last.

        Where it lets go of that only after the interpreter has ended, it takes the process with it (SIGABRT).
        """
        self._talk = None
        torch.distributed.destroy_process_group()  # waits for the threads, once nobody refers to their group


def is_several() -> bool:
    """Whether a launcher started more than this process."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def launcher_asks_for_shards() -> bool:
    """`accelerate launch --use_fsdp` says so here; how they are made is trainer.sharding's business, none of its settings."""
    return os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"
