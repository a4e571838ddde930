"""A bounded queue from a thread to an event loop: whoever makes things faster than they are taken waits."""

import asyncio
import threading
from collections.abc import AsyncIterator

_LOOK_FOR_STOP_S = 0.1


class Handover[Item]:
    """`put` and `end` belong to the thread, iterating to the loop that made it. Once `stop` is set, things are dropped."""

    def __init__(self, room: int, stop: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[Item | None] = asyncio.Queue()
        self._room = threading.Semaphore(room)
        self._stop = stop

    def put(self, item: Item) -> None:
        while not self._stop.is_set():
            if self._room.acquire(timeout=_LOOK_FOR_STOP_S):
                self._loop.call_soon_threadsafe(self._queue.put_nowait, item)
                return

    def end(self) -> None:
        """Nothing more comes."""
        self._loop.call_soon_threadsafe(self._queue.put_nowait, None)

    async def __aiter__(self) -> AsyncIterator[Item]:
        while (item := await self._queue.get()) is not None:
            self._room.release()
            yield item
