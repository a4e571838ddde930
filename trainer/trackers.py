"""Where a run's numbers are shown while it works, beside the screen: TensorBoard, Weights & Biases, trackio; all optional."""

import importlib
import importlib.util
import math
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
    """W&B and trackio, which have the same calls; their own count of calls is the horizontal axis."""

    def __init__(self, name: str, recipe: Recipe, folder: Path) -> None:
        self._library: Any = importlib.import_module(name)
        self._library.init(project="rrtf", name=folder.name, config=recipe.model_dump(mode="json"))

    def log(self, stage: str, step: int, numbers: Mapping[str, float]) -> None:
        self._library.log({f"{stage}/step": step, **{f"{stage}/{name}": value for name, value in numbers.items()}})

    def close(self) -> None:
        self._library.finish()
