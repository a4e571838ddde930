"""A training under way, on disk: weights, optimizer, chance and the number of the next step.

A checkpoint stands for the moment before a step. It is written when that step's loss and gradient are known to be numbers, so
what lies there is good. The file is written beside the last one, brought to the disk and then put into its place: there is
always one that is whole. Weights that are not trained are not in it.
"""

import copy
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

type State = dict[str, Any]
"""Weights and the optimizer's state, as whole tensors; in a file with the step and each process's chance."""
type Chance = dict[str, Any]
"""Where the generators of random numbers of one process are."""


@dataclass(kw_only=True)
class Checkpoints:
    """Where the checkpoint of one training lies, and when it is written."""

    path: Path
    every_ms: int
    every_steps: int
    """0: by time alone."""
    now: Callable[[], float] = time.monotonic
    _written: float = field(init=False)

    def __post_init__(self) -> None:
        self._written = self.now()

    def read(self) -> State | None:
        """What `save` wrote last. Its tensors are read as they are looked at, and by all processes of a machine only once."""
        if not self.path.exists():
            return None
        found: State = torch.load(self.path, map_location="cpu", mmap=True, weights_only=True)
        return found

    def is_due(self, step: int) -> bool:
        late = (self.now() - self._written) * 1000 >= self.every_ms
        return step > 0 and (late or bool(self.every_steps and step % self.every_steps == 0))

    def save(self, step: int, state: State, chance: Sequence[Chance]) -> None:
        """`chance` is `chance_now()` of each process from before the step."""
        beside = self.path.with_name(self.path.name + ".new")
        with beside.open("wb") as file:
            torch.save({"step": step, "chance": chance, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self.path)
        self._written = self.now()


def chance_now() -> Chance:
    """Where torch's generators of random numbers are."""
    return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []}


def set_chance(states: Sequence[Chance], rank: int) -> None:
    """Brings them back to where `chance_now` found them in the process of that rank.

    With more processes or GPUs than there were, the further ones begin where others stood: there is nothing to repeat.
    """
    state = states[rank % len(states)]
    torch.set_rng_state(state["cpu"])
    for device in range(torch.cuda.device_count() if state["cuda"] else 0):
        torch.cuda.set_rng_state(state["cuda"][device % len(state["cuda"])], device)


def trained(network: Any) -> dict[str, torch.Tensor]:
    """The weights that are trained, by name."""
    return {name: weights.detach() for name, weights in network.named_parameters() if weights.requires_grad}


def state_of(network: Any, optimizer: torch.optim.Optimizer) -> State:
    """The training as it is now."""
    return {"weights": trained(network), "optimizer": optimizer.state_dict()}


def take_up(state: State, network: Any, optimizer: torch.optim.Optimizer) -> None:
    """Brings both to where the state stands."""
    weights = trained(network)
    for name, values in state["weights"].items():
        weights[name].copy_(values)
    optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))  # it would go on with the file's own tensors
