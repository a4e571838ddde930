"""Work that takes long, in a few threads of its own: clients take turns at them, and the event loop serves others meanwhile."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from engine.line import Line


class Turns:
    """At most `threads` things at a time."""

    def __init__(self, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads)
        self._free = threads
        self._line: Line[asyncio.Future[None]] = Line()

    async def do[*A, R](self, client: str, act: Callable[[*A], R], *arguments: *A) -> R:
        """What that gives. A client with much to do makes nobody wait for all of it."""
        await self._turn(client)
        work = asyncio.get_running_loop().run_in_executor(self._threads, act, *arguments)
        work.add_done_callback(self._done)
        return await asyncio.shield(work)  # a thread goes on where nobody waits any more, and has to be counted

    async def _turn(self, client: str) -> None:
        if self._free:
            self._free -= 1
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.join(place, client)
        try:
            await place
        except asyncio.CancelledError:
            if not self._line.leave(place, client) and not place.cancelled():
                self._next()
            raise

    def _done[R](self, work: asyncio.Future[R]) -> None:
        if not work.cancelled():
            work.exception()  # whoever asked for it may be gone
        self._next()

    def _next(self) -> None:
        while self._line:
            place = self._line.pop()
            if not place.done():
                place.set_result(None)
                return
        self._free += 1
