"""An executor that outlives an engine's absence: it connects again, and sends again what had no report.

    jobs -> pump -> queue -> stream of one connection -> reports

The jobs are taken by a task of its own, because a stream that breaks takes down whatever it reads from. The queue holds as many
as a message, so that those which come together travel together, and whoever makes them still waits for the engine. What is said
goes to the screen.
"""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from types import TracebackType
from typing import Self

from engine.client import ConnectionFailed, EngineError, EngineGone, Job, Report, Unavailable
from trainer.execution import Connect, Executor

_AWAY = (ConnectionFailed, EngineGone, Unavailable)
_AHEAD = 32
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 15.0

type Say = Callable[[str], None]


def reconnecting(connect: Connect, retry_ms: int, say: Say) -> Connect:
    """Connections that come back within `retry_ms`, counted from the last report."""
    return lambda: Reconnecting(connect, retry_ms, say)


class Reconnecting:
    """Tests bring a clock of their own."""

    def __init__(
        self,
        connect: Connect,
        retry_ms: int,
        say: Say,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connect, self._retry_s, self._say, self._sleep, self._now = connect, retry_ms / 1000, say, sleep, now
        self._away_since: float | None = None
        self._waits = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None

    async def execute_stream(self, jobs: AsyncIterable[Job]) -> AsyncGenerator[Report, None]:
        """One report for every job. Raises what the jobs raise, and EngineError where the engine stays away."""
        unanswered: dict[str, Job] = {}
        queue: asyncio.Queue[Job | BaseException | None] = asyncio.Queue(_AHEAD)
        pump = asyncio.create_task(_pump(jobs, queue))
        source = _Source(queue, unanswered)
        try:
            while not (source.ended and not unanswered):
                try:
                    async with AsyncExitStack() as stack:
                        executor: Executor = await stack.enter_async_context(self._connect())
                        async with aclosing(executor.execute_stream(source.jobs())) as reports:
                            async for report in reports:
                                unanswered.pop(report.id, None)
                                self._is_back()
                                yield report
                    return
                except _AWAY as error:
                    await self._wait(error, len(unanswered))
        finally:
            pump.cancel()
            await asyncio.wait({pump})

    async def _wait(self, error: EngineError, unanswered: int) -> None:
        if self._away_since is None:
            self._away_since, self._waits = self._now(), 0
            again = f"{unanswered} programs will be sent again"
            self._say(f"  the engine is away ({error}); waiting for it, at most {self._retry_s:g} s; {again}")
        longest = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2**self._waits)
        self._waits += 1
        left = self._away_since + self._retry_s - self._now()
        if left <= 0:
            raise error
        await self._sleep(min(left, random.uniform(longest / 2, longest)))

    def _is_back(self) -> None:
        if self._away_since is not None:
            self._say(f"  the engine is back after {self._now() - self._away_since:.0f} s")
            self._away_since = None


class _Source:
    """The jobs for each connection in turn: first those without a report, then new ones."""

    def __init__(self, queue: "asyncio.Queue[Job | BaseException | None]", unanswered: dict[str, Job]) -> None:
        self._queue, self._unanswered = queue, unanswered
        self.ended = False

    async def jobs(self) -> AsyncIterator[Job]:
        for job in list(self._unanswered.values()):
            yield job
        while not self.ended:
            item = await self._queue.get()
            if isinstance(item, BaseException):
                raise item
            if item is None:
                self.ended = True
                return
            self._unanswered[item.id] = item
            yield item


async def _pump(jobs: AsyncIterable[Job], queue: "asyncio.Queue[Job | BaseException | None]") -> None:
    try:
        async for job in jobs:
            await queue.put(job)
    except Exception as error:  # noqa: BLE001  # whatever the jobs raise reaches the consumer of the reports
        await queue.put(error)
    else:
        await queue.put(None)
