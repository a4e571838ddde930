"""`Client`: an engine, as plain calls.

A thin front of `AsyncClient`, whose event loop runs in a thread of the client's own. The iterable given to `execute_stream`
runs in the caller's thread, between the reports it is given: so jobs may come from anything that is bound to a thread.

    caller: job -> request -> handover ┊ loop: stream -> call -> engine
                    report <- results  ┊ <- stream <- call <-

Waking another thread costs more than a request does. So the caller makes its requests and counts them against the window itself,
wakes the loop once for all that have gathered, and takes the reports from a queue.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Coroutine, Generator, Iterable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self

from engine.client.asynchronous import DEFAULT_ADDRESS, DEFAULT_WINDOW, AsyncClient
from engine.client.stream import JobStream, OnBadJob, Rejected, Result
from engine.errors import BadJob, EngineError
from engine.records import Description, Job, Report
from protos.execution.v1 import execution_pb2 as pb


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

    def execute_stream(
        self, jobs: Iterable[Job], *, window: int = DEFAULT_WINDOW, on_bad_job: OnBadJob | None = None
    ) -> Generator[Report, None, None]:
        """Runs many jobs, yielding each report as soon as its program is done. See `AsyncClient.execute_stream`.

        Up to `window` jobs are taken before the first report is waited for; what is done meanwhile is yielded between them.
        No job is taken before there is room for it.
        """
        results: SimpleQueue[Result] = SimpleQueue()
        with self._stream(results) as handover:
            under_way = 0
            for job in jobs:
                try:
                    handover.send(job)
                except BadJob as error:
                    Rejected(job.id, error).tell(on_bad_job)
                    continue
                under_way += 1
                while (under_way >= window or not results.empty()) and (given := _given(results)) is not None:
                    under_way -= 1
                    if report := _report(given, on_bad_job):
                        yield report
            handover.finish()
            while (given := _given(results)) is not None:
                if report := _report(given, on_bad_job):
                    yield report

    def describe(self) -> Description:
        """What the engine runs and allows."""
        return self._run(self._client.describe())

    def wait_ready(self, timeout_ms: int = 60_000) -> None:
        """Returns when the engine takes jobs. Raises ConnectionFailed or Unavailable where it does not within the time."""
        self._run(self._client.wait_ready(timeout_ms))

    @contextmanager
    def _stream(self, results: SimpleQueue[Result]) -> "Iterator[_Handover]":
        stream = self._run(self._client.open_stream(results.put))
        try:
            yield _Handover(self._loop, stream)
        finally:
            self._run(stream.close())

    def _run[T](self, work: Coroutine[Any, Any, T]) -> T:
        if self._loop.is_closed():
            work.close()
            raise EngineError("the client is closed; make another one")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # an interrupted caller takes its program along
            raise


class _Handover:
    """Requests on their way from the caller's thread to the loop's."""

    def __init__(self, loop: asyncio.AbstractEventLoop, stream: JobStream) -> None:
        self._loop = loop
        self._stream = stream
        self._requests: deque[pb.ExecuteRequest] = deque()
        self._called = False

    def send(self, job: Job) -> None:
        """Raises BadJob, see JobStream.request."""
        self._requests.append(self._stream.request(job))
        if not self._called:
            self._called = True
            self._loop.call_soon_threadsafe(self._receive)

    def finish(self) -> None:
        self._loop.call_soon_threadsafe(self._stream.finish)  # behind the last _receive

    def _receive(self) -> None:
        self._called = False  # first: what is appended from here on is found below, or calls again
        while self._requests:
            self._stream.send(self._requests.popleft())


def _given(results: SimpleQueue[Result]) -> Report | Rejected | None:
    result = results.get()
    if isinstance(result, BaseException):
        raise result
    return result


def _report(given: Report | Rejected, on_bad_job: OnBadJob | None) -> Report | None:
    if isinstance(given, Report):
        return given
    given.tell(on_bad_job)
    return None
