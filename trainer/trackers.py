"""Where a run's numbers are shown while it works, beside the screen: TensorBoard, Weights & Biases, trackio; all optional."""

import importlib
import importlib.util
import math
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

from trainer.errors import RecipeError
from trainer.recipe import Recipe, TrackerName


class Tracker(Protocol):
    """Takes numbers of a stage."""

    def log(self, stage: str, step: int, numbers: Mapping[str, float]) -> None: ...


def check(names: Sequence[TrackerName]) -> None:
    """Raises RecipeError where one is not installed."""
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise RecipeError(f'run.trackers: "{name}" is not installed; .venv/bin/python -m pip install {name} brings it')


@contextmanager
def trackers(recipe: Recipe, folder: Path) -> Iterator[list[Tracker]]:
    """Those that the recipe asks for, for as long as the block lasts."""
    with ExitStack() as stack:
        made: list[Tracker] = []
        for name in recipe.run.trackers:
            tracker = _TensorBoard(folder) if name == "tensorboard" else _Hosted(name, recipe, folder)
            stack.callback(tracker.close)
            made.append(FiniteOnly(tracker))
        yield made


def identity(folder: Path) -> str:
    """What tells the run in that folder from all others, also from one of the same name elsewhere."""
    file = folder / "tracked_as"
    known_by = file.read_text() if file.exists() else ""
    if not known_by:  # or cut off while it was written
        known_by = secrets.token_hex(4)
        file.write_text(known_by)
    return known_by


class FiniteOnly:
    """Tells a tracker only what is a number: the loss of a step that was skipped may be none, and a chart breaks off there."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker

    def log(self, stage: str, step: int, numbers: Mapping[str, float]) -> None:
        self._tracker.log(stage, step, {name: value for name, value in numbers.items() if math.isfinite(value)})


class _TensorBoard:
    """Event files in the run folder, a curve for each number of each stage."""

    def __init__(self, folder: Path) -> None:
        self._writer: Any = importlib.import_module("torch.utils.tensorboard").SummaryWriter(str(folder / "tensorboard"))

    def log(self, stage: str, step: int, numbers: Mapping[str, float]) -> None:
        for name, value in numbers.items():
            self._writer.add_scalar(f"{stage}/{name}", value, step)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class _Hosted:
    """W&B and trackio, which have the same calls; their own count of calls is the horizontal axis.

    A run that was interrupted goes on there as well. trackio knows runs by their names only, so the identity is part of it.
    """

    def __init__(self, name: TrackerName, recipe: Recipe, folder: Path) -> None:
        self._library: Any = importlib.import_module(name)
        known_by = identity(folder)
        known = {"name": folder.name, "id": known_by} if name == "wandb" else {"name": f"{folder.name}-{known_by}"}
        self._library.init(project="rrtf", config=recipe.model_dump(mode="json"), resume="allow", **known)

    def log(self, stage: str, step: int, numbers: Mapping[str, float]) -> None:
        self._library.log({f"{stage}/step": step, **{f"{stage}/{name}": value for name, value in numbers.items()}})

    def close(self) -> None:
        self._library.finish()
