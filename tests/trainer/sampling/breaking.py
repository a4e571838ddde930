"""Samplers for replicas that fail or dwell at one request; a module of its own, so that replicas made anew start quickly."""

import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from trainer.records import Candidate, Request
from trainer.sampling.sampler import Emit


class Breaks:
    """Makes itself, and does something at requests whose ids begin so."""

    def __init__(self, at: str, how: Callable[[], None], start_s: float) -> None:
        self._at, self._how = at, how
        time.sleep(start_s)  # as a large model takes its time

    def of_model(self, path: str, load: object, stage: str) -> "Breaks":
        return self

    def sample(self, requests: Sequence[Request], emit: Emit, stop: threading.Event) -> None:
        for request in requests:
            if not request.sampled:
                if request.id.startswith(self._at):
                    self._how()
                emit(Candidate(id=request.id, task_id="t", completion="", temperature=1.0, seed=0, tokens=0))


def fail() -> None:
    raise RuntimeError("out of memory")


def die() -> None:
    os._exit(1)


def dwell() -> None:
    time.sleep(1)


def no_model(path: str) -> Any:
    raise AssertionError("nothing loads one")
