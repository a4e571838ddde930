"""One replica: what an actor of Ray does that holds one of the other samplers. It knows nothing of Ray or of other replicas.

It is told of a stage once: where the model lies, and all requests. Then it is asked for some of them at a time, while the others
count as sampled. So its sampler sees the stage as it would alone, and what it makes of a request is the same on every replica.

Ray starts it in a process of its own, so it imports little: what its sampler needs comes with that.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

from trainer.handover import Handover

if TYPE_CHECKING:
    from trainer.language_model import LanguageModel
    from trainer.records import Candidate, Request
    from trainer.sampling.sampler import Sampler

_WAITING = 256
_OF_A_LAUNCHER = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""Variables that tell processes that train together of one another; a replica that inherits them is none of these."""


class Forgotten(Exception):
    """The replica was made anew since it was told of the stage."""


class MakesSamplers(Protocol):
    """What a replica holds."""

    def of_model(self, path: str, load: Callable[[], LanguageModel], stage: str) -> Sampler: ...


class Replica:
    """`at_once` shares are answered at a time, others wait; methods may be called at any time."""

    def __init__(self, samplers: Callable[[], MakesSamplers], load: Callable[[str], LanguageModel], at_once: int) -> None:
        for name in _OF_A_LAUNCHER:
            os.environ.pop(name, None)
        self._samplers, self._load = samplers(), lru_cache(maxsize=1)(load)
        self._threads = ThreadPoolExecutor(at_once)
        self._taking_up = threading.Lock()
        self._stage = -1

    async def take_up(self, stage: int, name: str, path: str, requests: Sequence[Request]) -> None:
        """From now on it samples stage number `stage` from the model at `path`. Raises SamplerError or ModelError."""
        await asyncio.get_running_loop().run_in_executor(self._threads, self._take_up, stage, name, path, requests)

    async def answer(self, stage: int, wanted: Collection[int]) -> AsyncIterator[Candidate]:
        """Candidates of the wanted requests, by their numbers, as they finish. Raises Forgotten, or what the sampler raises."""
        if stage != self._stage:
            raise Forgotten
        requests = self._sampled.copy()
        for number in wanted:
            requests[number] = self._requests[number]
        names = {self._requests[number].id for number in wanted}
        stop = threading.Event()
        found: Handover[Candidate] = Handover(_WAITING, stop)
        sampling = asyncio.get_running_loop().run_in_executor(self._threads, self._sample, requests, found, stop)
        try:
            async for candidate in found:
                if candidate.id in names:
                    yield candidate
            await sampling
        finally:
            stop.set()

    def _take_up(self, stage: int, name: str, path: str, requests: Sequence[Request]) -> None:
        with self._taking_up:
            if stage != self._stage:
                self._sampler = self._samplers.of_model(path, lambda: self._load(path), name)
                self._requests = requests
                self._sampled = [replace(request, sampled=True) for request in requests]
                self._stage = stage

    def _sample(self, requests: Sequence[Request], found: Handover[Candidate], stop: threading.Event) -> None:
        try:
            self._sampler.sample(requests, found.put, stop)
        finally:
            found.end()
