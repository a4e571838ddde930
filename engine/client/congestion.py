"""How many calls of one client are under way at an engine that has refused one.

A refusal costs client and engine a fifth of what a short program does, on the cores that the programs need. So a client
learns from the first one how much the engine takes from it, and keeps the rest to itself: additive increase, multiplicative
decrease, as TCP's congestion avoidance (Chiu and Jain, 1989).

    no limit ── refused ──> limit: 0.9 of what is under way ── answered ──> one more for each round of answers

A limit below what the engine holds for the client costs no throughput, since only a few of its programs run at once.
"""

import asyncio
import contextlib
import math
from collections import deque
from collections.abc import AsyncIterator

from engine.errors import Busy

_DECREASE = 0.9
_TOO_BUSY = "the engine takes no more from this client at the moment; ask again later, or wait longer with retry_time_ms"


class CongestionWindow:
    """Bounds the calls of one client, on one event loop. `under_way` counts those that have a place."""

    def __init__(self) -> None:
        self._limit = math.inf
        self.under_way = 0
        self._closed_until = 0.0
        self._retry_after_ms = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @contextlib.asynccontextmanager
    async def place(self, patience_until: float) -> AsyncIterator[None]:
        """A place in the window for one call, waited for until then by the loop's clock. Raises Busy where none comes free."""
        await self._room(patience_until)
        self.under_way += 1
        try:
            yield
            self._limit += 1 / self._limit
        except Busy as refusal:
            self._cut(refusal)
            raise
        finally:
            self.under_way -= 1
            self._call_the_next()

    async def _room(self, patience_until: float) -> None:
        loop = asyncio.get_running_loop()
        while not self._has_room():
            if loop.time() >= patience_until:
                raise Busy(_TOO_BUSY, retry_after_ms=self._retry_after_ms)
            turn: asyncio.Future[None] = loop.create_future()
            timer = loop.call_at(patience_until, _fulfil, turn)
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                self._call_the_next()
                raise
            finally:
                timer.cancel()
                with contextlib.suppress(ValueError):  # it was called
                    self._waiting.remove(turn)
        self._call_the_next()

    def _has_room(self) -> bool:
        """Answers to what is under way tell how much the engine takes; without any, only the delay that it asked for does."""
        is_open = self.under_way or asyncio.get_running_loop().time() >= self._closed_until
        return bool(is_open) and self.under_way < self._limit

    def _cut(self, refusal: Busy) -> None:
        """The last refusal of a burst leaves under way what the engine took."""
        loop = asyncio.get_running_loop()
        self._retry_after_ms = refusal.retry_after_ms
        self._closed_until = loop.time() + refusal.retry_after_ms / 1000
        loop.call_at(self._closed_until, self._call_the_next)
        self._limit = max(1.0, min(self._limit, _DECREASE * (self.under_way - 1)))

    def _call_the_next(self) -> None:
        while self._waiting and self._has_room():
            if _fulfil(self._waiting.popleft()):
                return


def _fulfil(turn: asyncio.Future[None]) -> bool:
    if turn.done():
        return False
    turn.set_result(None)
    return True
