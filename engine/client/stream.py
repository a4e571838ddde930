"""Many jobs over one ExecuteStream call, as the asynchronous and the synchronous client both need it.

    request -> send -> outbox -> writer task -> call -> reader task -> deliver

Neither the order nor the grouping of messages means anything: whatever gathered while the writer was at work goes out together,
and while the engine has plenty to do the writer also waits for company. How many jobs are under way is for the client to bound:
it counts what it sends and what is delivered. Reports are delivered as they come, then what ended the stream: None, or an error.
The reader alone decides how the stream ended; a writer that finds the call broken leaves the story to it. A job that the engine
was too busy for is sent again after the delay the engine asked for, which is why the sending side is closed only when everything
has been answered.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import grpc

from engine import wire
from engine.client.connection import Connection
from engine.errors import BadJob, Busy, EngineError, EngineFault
from engine.records import Job, Report
from protos.execution.v1 import execution_pb2 as pb

type OnBadJob = Callable[[str, BadJob], None]
"""Is told the id of a job that cannot be run as it is, and why; without one it ends the stream."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A job of the stream that cannot be run as it is."""

    job_id: str
    error: BadJob

    def tell(self, on_bad_job: OnBadJob | None) -> None:
        """Raises the error where nobody is to be told."""
        if on_bad_job is None:
            raise self.error
        on_bad_job(self.job_id, self.error)


type Result = Report | Rejected | BaseException | None
"""What became of a job, or how the stream ended."""

_PLENTY = 64
"""Jobs at the engine that keep it busy while one is held back, which is for `gather_ms` at most."""


class JobStream:
    """Use `JobStream.open`. All methods but `request` belong to the thread of the event loop."""

    def __init__(self, connection: Connection, call: Any, deliver: Callable[[Result], None], gather_ms: float = 5) -> None:
        self._connection = connection
        self._call = call
        self._deliver = deliver
        self._ids: set[str] = set()
        self._requests: dict[str, pb.ExecuteRequest] = {}
        self._answered = 0
        self._input_ended = False
        self._outbox: wire.Outbox[pb.ExecuteRequest] = wire.Outbox(gather_ms=gather_ms)
        self._reader = asyncio.create_task(self._read())
        self._writer = asyncio.create_task(self._write())

    @classmethod
    async def open(cls, connection: Connection, deliver: Callable[[Result], None]) -> Self:
        """A stream, to be closed. `deliver` must not block. Raises ConnectionFailed."""
        stub = await connection.stub()
        return cls(connection, stub.ExecuteStream(), deliver)

    def request(self, job: Job) -> pb.ExecuteRequest:
        """What to send for a job. Raises BadJob for data that cannot be sent and for an id used before.

        Belongs to the thread that takes the jobs, whichever that is.
        """
        if job.id in self._ids:
            raise BadJob(f"two jobs of the stream have the id {job.id[:80]!r}; give each its own")
        try:
            request = wire.request_from_job(job)
        except BadJob as error:
            raise BadJob(f"job {job.id[:80]!r}: {error}") from error
        self._ids.add(job.id)
        return request

    def send(self, request: pb.ExecuteRequest) -> None:
        self._requests[request.id] = request
        self._put(request)

    def finish(self) -> None:
        """There are no more jobs."""
        self._input_ended = True
        self._outbox.flush()

    def fail(self, error: BaseException) -> None:
        """Ends the stream with the error, behind the reports that came before."""
        self._deliver(error)
        self._call.cancel()

    async def close(self) -> None:
        """Cancels what is under way."""
        self._call.cancel()
        self._outbox.close()
        tasks = {self._reader, self._writer}
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    async def _read(self) -> None:
        try:
            while (message := await self._call.read()) is not grpc.aio.EOF:
                for response in message.responses:
                    self._take(response)
                if self._input_ended and not self._requests:
                    self._outbox.flush()
            if self._requests or not self._input_ended:
                raise EngineFault(f"the engine at {self._connection.address} ended the stream {self._so_far()}")
            self._deliver(None)
        except grpc.aio.AioRpcError as error:
            all_answered = self._input_ended and not self._requests
            self._deliver(None if all_answered else self._connection.failure(error, self._so_far()))
        except asyncio.CancelledError:
            self._deliver(EngineError(f"the client was closed {self._so_far()}"))
            raise
        except Exception as error:  # noqa: BLE001  # nobody waits for this task; whoever waits for reports must hear of it
            self.fail(error)

    def _take(self, response: pb.ExecuteResponse) -> None:
        if (request := self._requests.get(response.id)) is None:
            raise EngineFault(f"the engine answered for {response.id[:80]!r}, which is not under way")
        if response.HasField("report"):
            self._answer(response.id, wire.report_from_message(response.id, response.report))
            return
        error = wire.error_from_rejection(response.rejected)
        if isinstance(error, Busy):
            asyncio.get_running_loop().call_later(error.retry_after_ms / 1000, self._put, request)
            return
        named = type(error)(f"job {response.id[:80]!r}: {error}")
        if not isinstance(named, BadJob):
            raise named from error
        self._answer(response.id, Rejected(response.id, named))

    def _answer(self, job_id: str, result: Report | Rejected) -> None:
        self._deliver(result)
        self._answered += 1
        del self._requests[job_id]

    def _put(self, request: pb.ExecuteRequest) -> None:
        at_engine = len(self._requests) - len(self._outbox) - 1
        self._outbox.put(request, hurry=self._input_ended or at_engine <= _PLENTY)

    async def _write(self) -> None:
        try:
            while self._requests or not self._input_ended:
                if group := await self._outbox.group():
                    await self._call.write(pb.ExecuteStreamRequest(requests=group))
            await self._call.done_writing()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return  # the call is over, and the reader knows why
        except Exception as error:  # noqa: BLE001  # as for the reader
            self.fail(error)

    def _so_far(self) -> str:
        return f"after {self._answered} of {self._answered + len(self._requests)} reports"
