"""A bounded queue from a thread to an event loop: whoever makes things faster than they are taken waits.

The loop is woken once for all that comes within a few milliseconds, so that they travel on together: with a wake-up of its own,
and a message to the engine of its own, each candidate would cost an eighth more.
"""

import asyncio
import threading
from collections.abc import AsyncIterator

_GATHER_S = 0.02
_LOOK_FOR_STOP_S = 0.1


class Handover[Item]:
    """`put` and `end` belong to the thread, iterating to the loop that made it. Once `stop` is set, things are dropped."""

    def __init__(self, room: int, stop: threading.Event, gather_s: float = _GATHER_S) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[Item | None] = asyncio.Queue()
        self._room = threading.Semaphore(room)
        self._stop, self._gather_s = stop, gather_s
        self._lock = threading.Lock()
        self._gathered: list[Item] = []

    def put(self, item: Item) -> None:
        while not self._stop.is_set():
            if self._room.acquire(timeout=_LOOK_FOR_STOP_S):
                with self._lock:
                    self._gathered.append(item)
                    is_first = len(self._gathered) == 1
                if is_first:
                    self._loop.call_soon_threadsafe(self._loop.call_later, self._gather_s, self._pass_on)
                return

    def end(self) -> None:
        """Nothing more comes."""
        self._loop.call_soon_threadsafe(self._pass_on)
        self._loop.call_soon_threadsafe(self._queue.put_nowait, None)

    async def __aiter__(self) -> AsyncIterator[Item]:
        while (item := await self._queue.get()) is not None:
            self._room.release()
            yield item

    def _pass_on(self) -> None:
        with self._lock:
            items, self._gathered = self._gathered, []
        for item in items:
            self._queue.put_nowait(item)
