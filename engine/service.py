"""The RPCs of execution.proto over one narrow interface, `Executor`.

Unary: convert, execute, convert back. Stream: one reader and one task per request under way.

    reader --window--> task per request --executor--> write, one at a time

The reader takes a place in the window before it reads, and a place comes back only when its response has been written: so
neither a client that writes faster than programs run nor one that reads slower than they finish makes anything pile up here.
Every request that was read is answered exactly once, or the whole stream ends with a status. A client that cancels or
vanishes cancels the handler, and with it, through the task group, every program of that client.

The service is in one of three states: starting (refuses), serving, draining (refuses, finishes what it accepted).
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, NoReturn, Protocol

import grpc

from engine import wire
from engine.errors import BadJob, Draining, EngineError, Starting
from engine.records import Description, Job, Report
from protos.execution.v1 import execution_pb2 as pb
from protos.execution.v1 import execution_pb2_grpc as pb_grpc

_log = logging.getLogger(__name__)

type _Context = grpc.aio.ServicerContext[Any, Any]


class Executor(Protocol):
    """Runs programs. Cancelling `execute` ends the program."""

    async def execute(self, job: Job) -> Report:
        """What became of the job. Raises BadJob, Busy or Draining where there is no verdict."""
        ...


class ExecutionService(pb_grpc.ExecutionServicer):
    """The servicer. `stream_window` is the most requests of one stream under way at once."""

    def __init__(self, executor: Executor, description: Description, *, stream_window: int) -> None:
        self._executor = executor
        self._description = description
        self._stream_window = stream_window
        self._refusing: EngineError | None = Starting()
        self._calls = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._streams: set[_Stream] = set()

    def open(self) -> None:
        """From now on jobs are accepted."""
        self._refusing = None

    def drain(self) -> None:
        """From now on nothing new is accepted or read."""
        self._refusing = Draining()
        for stream in self._streams:
            stream.stop_reading(self._refusing)

    async def idle(self) -> None:
        """Returns when no call is under way."""
        await self._idle.wait()

    async def Execute(self, request: pb.ExecuteRequest, context: _Context) -> pb.ExecuteResponse:  # noqa: N802  # gRPC's name
        with _Call(self):
            try:
                return await self._execute(request)
            except Exception as error:  # noqa: BLE001  # the edge: every error becomes a status
                await _abort(context, _refusal(request.id, error))

    async def ExecuteStream(self, _: object, context: _Context) -> None:  # noqa: N802  # gRPC's name
        with _Call(self):
            if self._refusing is not None:
                await _abort(context, wire.refusal_of(self._refusing))
            stream = _Stream(self.answer, context, self._stream_window)
            self._streams.add(stream)
            try:
                await stream.run()
            finally:
                self._streams.discard(stream)
            if stream.ended_by is not None:
                await _abort(context, wire.refusal_of(stream.ended_by))

    async def Describe(self, request: pb.DescribeRequest, context: _Context) -> pb.DescribeResponse:  # noqa: N802  # gRPC's name
        if isinstance(self._refusing, Starting):
            await _abort(context, wire.refusal_of(self._refusing))
        return wire.message_from_description(self._description)

    async def answer(self, request: pb.ExecuteRequest) -> pb.ExecuteResponse:
        """The one response to a request of a stream, whatever happens to it."""
        try:
            return await self._execute(request)
        except Exception as error:  # noqa: BLE001  # the edge: every error becomes a rejection
            return wire.response_from_refusal(request.id, _refusal(request.id, error))

    async def _execute(self, request: pb.ExecuteRequest) -> pb.ExecuteResponse:
        if self._refusing is not None:
            raise self._refusing
        job = wire.job_from_request(request, self._description)
        return wire.response_from_report(await self._executor.execute(job))

    def call_began(self) -> None:
        self._calls += 1
        self._idle.clear()

    def call_ended(self) -> None:
        self._calls -= 1
        if not self._calls:
            self._idle.set()


class _Call:
    """Counts a call as under way."""

    def __init__(self, service: ExecutionService) -> None:
        self._service = service

    def __enter__(self) -> None:
        self._service.call_began()

    def __exit__(self, *_: object) -> None:
        self._service.call_ended()


class _Stream:
    """One ExecuteStream call. `ended_by` says what ended it before the client's last request was read and answered."""

    def __init__(self, answer: Callable[[pb.ExecuteRequest], Any], context: _Context, window: int) -> None:
        self.ended_by: EngineError | None = None
        self._answer = answer
        self._context = context
        self._window = asyncio.Semaphore(window)
        self._writing = asyncio.Lock()
        self._under_way: set[str] = set()
        self._reader: asyncio.Task[None] | None = None

    def stop_reading(self, reason: EngineError) -> None:
        if self._reader is not None and self._reader.cancel():
            self.ended_by = reason

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                self._reader = tasks.create_task(self._read(tasks))
        except* BadJob as faults:
            self.ended_by = next(fault for fault in faults.exceptions if isinstance(fault, BadJob))

    async def _read(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            await self._window.acquire()
            request = await self._context.read()
            if request is grpc.aio.EOF:
                return
            if request.id in self._under_way:
                raise BadJob(f"two requests with the id {request.id[:80]!r} are under way; give each its own")
            self._under_way.add(request.id)
            tasks.create_task(self._respond(request))

    async def _respond(self, request: pb.ExecuteRequest) -> None:
        response = await self._answer(request)
        self._under_way.discard(request.id)
        async with self._writing:
            await self._context.write(response)
        self._window.release()


def _refusal(job_id: str, error: Exception) -> wire.Refusal:
    if not isinstance(error, EngineError):
        _log.error("job %r met a fault of the engine", job_id, exc_info=error)
    return wire.refusal_of(error)


async def _abort(context: _Context, refusal: wire.Refusal) -> NoReturn:
    status = wire.status_of(refusal)
    await context.abort(status.code, status.details, status.trailing_metadata)
