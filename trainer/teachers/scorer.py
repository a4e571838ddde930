"""Teacher scores for candidates, computed while others are still being sampled and run.

    candidates as they are sampled ──> bounded queue ──> `workers` at once ──> progress of the stage

A score is a number from 0 to 1, or None where the teacher gave none: that is not a bad score, it is no score. Equal code for the
same problem is scored once.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

from engine.client import Problem
from trainer.progress import Progress
from trainer.records import Candidate

type OpenScorer = Callable[[], AbstractAsyncContextManager["Scorer"]]

_WAITING = 1024


class Scorer(Protocol):
    """A teacher that scores."""

    workers: int
    """How many scores it computes at once."""

    async def score(self, problem: Problem, completion: str) -> float | None: ...


@asynccontextmanager
async def scoring(
    open_scorer: OpenScorer | None, problems: Mapping[str, Problem], progress: Progress
) -> AsyncIterator["Scoring | None"]:
    """The scoring of one stage, for as long as the block lasts; None where nobody scores."""
    if open_scorer is None:
        yield None
        return
    async with open_scorer() as scorer:
        work = Scoring(scorer, problems, progress)
        try:
            yield work
        finally:
            await work.close()


class Scoring:
    """The scores of one stage. Everything belongs to one event loop."""

    def __init__(self, scorer: Scorer, problems: Mapping[str, Problem], progress: Progress) -> None:
        self._scorer, self._problems, self._progress = scorer, problems, progress
        self._queue: asyncio.Queue[Candidate | None] = asyncio.Queue(_WAITING)
        self._known: dict[tuple[str, str], asyncio.Future[float | None]] = {}
        self._workers = [asyncio.ensure_future(self._work()) for _ in range(scorer.workers)]

    async def put(self, candidate: Candidate) -> None:
        """Hands in a candidate; waits while the teacher is far behind.

        One that was cut off is not compared, so not scored; one that was scored before an interruption is not scored again.
        """
        if not candidate.truncated and candidate.id not in self._progress.scores:
            await self._or_failure(self._queue.put(candidate))

    async def finish(self) -> None:
        """Waits for the last score. Raises what the scorer raises."""
        await self._or_failure(self._queue.put(None))
        await asyncio.gather(*self._workers)

    async def close(self) -> None:
        """Ends what is under way."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    async def _or_failure(self, putting: Coroutine[Any, Any, None]) -> None:
        """Waits for room, or for a worker that breaks."""
        put = asyncio.ensure_future(putting)
        await asyncio.wait({put, *self._workers}, return_when=asyncio.FIRST_COMPLETED)
        if not put.done():
            put.cancel()
        for worker in self._workers:
            if worker.done():
                worker.result()

    async def _work(self) -> None:
        while (candidate := await self._queue.get()) is not None:
            self._progress.scored(candidate.id, await self._once(candidate))
        self._queue.put_nowait(None)  # for the next worker

    async def _once(self, candidate: Candidate) -> float | None:
        key = candidate.task_id, candidate.completion
        if (known := self._known.get(key)) is None:
            known = self._known[key] = asyncio.ensure_future(self._scorer.score(self._problems[key[0]], candidate.completion))
        return await known
