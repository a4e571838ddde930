"""`Client`: an engine, as plain calls.

A thin front of `AsyncClient`, whose event loop runs in a thread of the client's own. The iterable given to `execute_stream`
runs in the caller's thread, between the reports it is given: so jobs may come from anything that is bound to a thread.
"""

import asyncio
import threading
from collections.abc import Coroutine, Generator, Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from engine.client.asynchronous import DEFAULT_ADDRESS, DEFAULT_WINDOW, AsyncClient
from engine.client.stream import JobStream
from engine.records import Description, Job, Report


class Client:
    """A client of the engine at `address`, which is host:port or unix:PATH. Raises what `AsyncClient` raises."""

    def __init__(self, address: str = DEFAULT_ADDRESS, *, retry_time_ms: int = 60_000) -> None:
        self._client = AsyncClient(address, retry_time_ms=retry_time_ms)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"engine client of {address}", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection; programs under way end."""
        if self._loop.is_closed():
            return
        self._run(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def execute(self, job: Job) -> Report:
        """Runs one job. See `AsyncClient.execute`."""
        return self._run(self._client.execute(job))

    def execute_stream(self, jobs: Iterable[Job], *, window: int = DEFAULT_WINDOW) -> Generator[Report, None, None]:
        """Runs many jobs, yielding each report as soon as its program is done. See `AsyncClient.execute_stream`.

        Up to `window` jobs are taken before the first report is waited for; what is done meanwhile is yielded between them.
        """
        with self._stream(window) as stream:
            for job in jobs:
                while stream.full and (report := self._run(stream.receive())) is not None:
                    yield report
                self._run(stream.send(job))
                while (report := self._run(_ready(stream))) is not None:
                    yield report
            self._run(stream.finish())
            while (report := self._run(stream.receive())) is not None:
                yield report

    def describe(self) -> Description:
        """What the engine runs and allows."""
        return self._run(self._client.describe())

    def wait_ready(self, timeout_ms: int = 60_000) -> None:
        """Returns when the engine takes jobs. Raises ConnectionFailed or Unavailable where it does not within the time."""
        self._run(self._client.wait_ready(timeout_ms))

    @contextmanager
    def _stream(self, window: int) -> Iterator[JobStream]:
        stream = self._run(self._client.open_stream(window))
        try:
            yield stream
        finally:
            self._run(stream.close())

    def _run[T](self, work: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # an interrupted caller takes its program along
            raise


async def _ready(stream: JobStream) -> Report | None:
    return stream.receive_nowait()
