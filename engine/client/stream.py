"""Many jobs over one ExecuteStream call, with a window, as the asynchronous and the synchronous client both need it.

    send --window--> call --> reader task --> results --> receive --window back--

A place in the window is taken by `send` and comes back with `receive`, so neither the jobs nor the reports of a slow consumer
pile up. The reader alone decides how the stream ended: whoever finds the call broken while writing leaves the story to it.
Errors queue behind the reports that came before them. A job that the engine was too busy for is sent again after the delay
the engine asked for, which is why the sending side is closed only when everything has been answered.
"""

import asyncio
from typing import Any, Self

import grpc

from engine import wire
from engine.client.connection import Connection
from engine.errors import BadJob, Busy, EngineError, EngineFault
from engine.records import Job, Report
from protos.execution.v1 import execution_pb2 as pb


class JobStream:
    """Use `JobStream.open`. `window` is the most jobs sent whose reports have not been received."""

    def __init__(self, connection: Connection, call: Any, window: int) -> None:
        self._connection = connection
        self._call = call
        self._room = asyncio.Semaphore(window)
        self._writing = asyncio.Lock()
        self._requests: dict[str, pb.ExecuteRequest] = {}
        self._ids: set[str] = set()
        self._answered = 0
        self._input_ended = False
        self._results: asyncio.Queue[Report | BaseException | None] = asyncio.Queue()
        self._resending: set[asyncio.Task[None]] = set()
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def open(cls, connection: Connection, window: int) -> Self:
        """A stream, to be closed. Raises ConnectionFailed."""
        stub = await connection.stub()
        return cls(connection, stub.ExecuteStream(), window)

    @property
    def full(self) -> bool:
        return self._room.locked()

    async def send(self, job: Job) -> None:
        """Sends a job when there is room for it. Raises BadJob for data that cannot be sent and for an id used before."""
        if job.id in self._ids:
            raise BadJob(f"two jobs of the stream have the id {job.id[:80]!r}; give each its own")
        try:
            request = wire.request_from_job(job)
        except BadJob as error:
            raise BadJob(f"job {job.id[:80]!r}: {error}") from error
        await self._room.acquire()
        self._ids.add(job.id)
        self._requests[job.id] = request
        await self._write(request)

    async def finish(self) -> None:
        """There are no more jobs."""
        self._input_ended = True
        await self._close_if_answered()

    def fail(self, error: BaseException) -> None:
        """Ends the stream; `receive` raises the error once it has given out the reports that came before."""
        self._results.put_nowait(error)
        self._call.cancel()

    async def receive(self) -> Report | None:
        """The next report, None after the last. Raises what ended the stream."""
        return self._given(await self._results.get())

    def receive_nowait(self) -> Report | None:
        """As `receive`, but None where no report has come yet."""
        return None if self._results.empty() else self._given(self._results.get_nowait())

    async def close(self) -> None:
        """Cancels what is under way."""
        self._call.cancel()
        tasks = {self._reader, *self._resending}
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    def _given(self, result: Report | BaseException | None) -> Report | None:
        if isinstance(result, Report):
            self._room.release()
            return result
        self._results.put_nowait(result)  # the end stays the end
        if result is not None:
            raise result
        return None

    async def _read(self) -> None:
        try:
            while (response := await self._call.read()) is not grpc.aio.EOF:
                self._take(response)
                await self._close_if_answered()
            if self._requests:
                raise EngineFault(f"the engine at {self._connection.address} ended the stream {self._so_far()}")
            self._results.put_nowait(None)
        except grpc.aio.AioRpcError as error:
            failure = self._connection.failure(error, self._so_far())
            self._results.put_nowait(failure)
        except EngineError as error:
            self.fail(error)

    def _take(self, response: pb.ExecuteResponse) -> None:
        if (request := self._requests.get(response.id)) is None:
            raise EngineFault(f"the engine answered for {response.id[:80]!r}, which is not under way")
        if response.WhichOneof("outcome") == "report":
            self._results.put_nowait(wire.report_from_message(response.id, response.report))
            self._answered += 1
            del self._requests[response.id]
            return
        error = wire.error_from_rejection(response.rejected)
        if isinstance(error, Busy):
            self._resend(request, error.retry_after_ms)
            return
        raise type(error)(f"job {response.id[:80]!r}: {error}") from error

    def _resend(self, request: pb.ExecuteRequest, delay_ms: int) -> None:
        async def later() -> None:
            await asyncio.sleep(delay_ms / 1000)
            await self._write(request)

        task = asyncio.create_task(later())
        self._resending.add(task)
        task.add_done_callback(self._resending.discard)

    async def _write(self, request: pb.ExecuteRequest) -> None:
        try:
            async with self._writing:
                await self._call.write(request)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await asyncio.wait({self._reader})

    async def _close_if_answered(self) -> None:
        if self._input_ended and not self._requests:
            async with self._writing:
                await self._call.done_writing()

    def _so_far(self) -> str:
        return f"after {self._answered} of {self._answered + len(self._requests)} reports"
