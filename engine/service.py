"""The RPCs of execution.proto over one narrow interface, `Executor`.

Unary: convert, execute, convert back. Stream: one reader, one task per program under way, one writer.

    reader --window--> task per program --executor--> outbox --> writer --window back--

The reader reads only while there is a place in the window and takes one for each request before its program starts, more where
request and outputs may be large; they come back only when the response has been written. So neither a client that writes faster
than programs run nor one that reads slower than they finish makes anything pile up here. Every request that was read is answered
exactly once, or the whole stream ends with a status. A client that cancels or vanishes cancels the handler, and with it, through
the task group, all programs of the stream. Clients take turns where programs wait: a stream counts as one client, unary calls
count by their address.

A message costs about as much as a short program does, so responses are gathered, but never at the price of an idle slot: the
writer waits for company only while so many programs of the stream are under way that the slots stay busy meanwhile.

The service is in one of three states: starting (refuses), serving, draining (refuses, finishes what it accepted).
"""

import asyncio
import logging
import math
import time
from functools import partial
from typing import Any, NoReturn, Protocol, cast

import grpc
from google.protobuf.message import Message

from engine import wire
from engine.errors import BadJob, Busy, Draining, EngineError, Starting
from engine.records import MIB, Description, Job, Report
from engine.turns import Turns
from protos.execution.v1 import execution_pb2 as pb
from protos.execution.v1 import execution_pb2_grpc as pb_grpc

_log = logging.getLogger(__name__)

type _Context = grpc.aio.ServicerContext[Any, Any]

_PLENTY_PER_SLOT = 4
"""Programs of a stream under way, for each slot, that keep the slots busy while a response is held back."""
_LARGE_TOGETHER_BYTES, _LARGE_RETRY_MS = 512 * MIB, 1_000
"""What the large requests of all clients may have together, since each takes a multiple of its size in memory for as long as it
waits and runs; when to come back."""
_LONG_VALUES_BYTES = 16 << 10
"""From what size on values take long to read: a millisecond for each kilobyte where they are small."""
_UNREAD_TOGETHER_BYTES, _UNREAD_RETRY_MS = 512 * MIB, 1_000
"""What the outputs in all responses may have together that clients have not taken yet; when to run a program again whose response
has no room any more."""
_STALLED_S = 10.0
"""How long a stream may take nothing and keep room for its outputs that others lack."""
_THREADS = 2
"""That read what takes long, and as many for requests below a megabyte, which do not wait for those above."""
_PLACE_BYTES = 2 * MIB
"""What a request and the outputs of its program may hold of the engine's memory for each place that it takes."""


class Executor(Protocol):
    """Runs programs. Cancelling `execute` ends the program."""

    def admit(self, client: str) -> None:
        """Raises Busy or Draining where a job of that client which came now would be refused."""

    async def execute(self, job: Job, client: str = "") -> Report:
        """What became of the job; clients take turns. Raises BadJob, Busy or Draining where there is no verdict."""
        ...


class Observer:
    """Is told what became of each request; this one keeps nothing of it. What it does has to be quick: programs wait for it."""

    def reported(self, report: Report) -> None:
        """A request came to a report."""

    def refused(self, code: grpc.StatusCode) -> None:
        """A request, or a stream, ended with this instead."""


class ExecutionService(pb_grpc.ExecutionServicer):
    """The servicer.

    `stream_window` is the most requests of one stream under way at once, `gather_ms` the longest that a response is held back,
    `large_together_bytes` what all large requests under way may have together, `unread_together_bytes` what all outputs may that
    clients have not taken. Where that is too much, those of streams that took nothing for `stalled_s` make room.
    """

    def __init__(
        self,
        executor: Executor,
        description: Description,
        *,
        stream_window: int,
        gather_ms: float = 20,
        large_together_bytes: int = _LARGE_TOGETHER_BYTES,
        unread_together_bytes: int = _UNREAD_TOGETHER_BYTES,
        stalled_s: float = _STALLED_S,
        observer: Observer | None = None,
    ) -> None:
        self._executor = executor
        self._observer = observer or Observer()
        self._description = description
        self._stream_window = stream_window
        self._gather_ms = gather_ms
        self._refusing: EngineError | None = Starting()
        self._large_room_bytes = large_together_bytes
        self._unread_room_bytes = unread_together_bytes
        self._stalled_s = stalled_s
        self._large, self._medium = Turns(_THREADS), Turns(_THREADS)
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

    async def Execute(self, message: pb.ExecuteRequest | bytes | None, context: _Context) -> pb.ExecuteResponse:  # gRPC's name
        with _Call(self):
            job_id = ""
            try:
                client = context.peer()
                if isinstance(message, bytes):
                    self._check_large(len(message))
                request = await self.read(message, pb.ExecuteRequest, client)
                job_id, size = request.id, request.ByteSize()
                response, held_bytes = await self.execute(self.accept(request, size, client), size, client)
                if held_bytes:
                    context.add_done_callback(cast(Any, lambda _: self.let_go(held_bytes)))
                return response
            except Exception as error:  # noqa: BLE001  # the edge: every error becomes a status
                await _abort(context, self.refusal(job_id, error))

    async def ExecuteStream(self, _: object, context: _Context) -> None:  # gRPC's name
        with _Call(self):
            if self._refusing is not None:
                await _abort(context, self.refusal("", self._refusing))
            plenty = _PLENTY_PER_SLOT * self._description.slots
            stream = _Stream(self, context, window=self._stream_window, plenty=plenty, gather_ms=self._gather_ms)
            self._streams.add(stream)
            try:
                await stream.run()
            finally:
                self._streams.discard(stream)
            if stream.is_cut_off:
                raise asyncio.CancelledError  # nobody is there to be told more
            if stream.ended_by is not None:
                await _abort(context, self.refusal("", stream.ended_by))

    async def Describe(self, request: pb.DescribeRequest, context: _Context) -> pb.DescribeResponse:  # gRPC's name
        if isinstance(self._refusing, Starting):
            await _abort(context, wire.refusal_of(self._refusing))
        return wire.message_from_description(self._description)

    async def read[M: Message](self, message: M | bytes | None, kind: type[M], client: str) -> M:
        """What a client sent, aside where that takes long. Raises BadJob."""
        if message is None:
            raise BadJob(wire.UNREADABLE)
        if not isinstance(message, bytes):
            return message
        size = len(message)
        self._large_room_bytes -= size
        try:
            return await self._large.do(client, wire.read_large, message, kind)
        finally:
            self._large_room_bytes += size

    def _check_large(self, size: int) -> None:
        """Raises Busy where there is no room for a request of that size."""
        if size >= wire.LARGE_BYTES and size > self._large_room_bytes:
            raise Busy(retry_after_ms=_LARGE_RETRY_MS)

    def accept(self, request: pb.ExecuteRequest, size: int, client: str) -> Job | pb.ExecuteRequest:
        """The job a request asks for; the request where that takes long to read. Raises what Execute answers instead."""
        if self._refusing is not None:
            raise self._refusing
        self._executor.admit(client)  # before anything is spent on the request: refusing has to be cheap
        self._check_large(size)
        is_quick = size < (_LONG_VALUES_BYTES if request.HasField("function_tests") else wire.LARGE_BYTES)
        return wire.job_from_request(request, self._description) if is_quick else request

    async def execute(self, accepted: Job | pb.ExecuteRequest, size: int, client: str) -> tuple[pb.ExecuteResponse, int]:
        """The response to what was accepted, of a request that had that size, and what to `let_go` of once it is written.

        Raises what Execute answers instead.
        """
        large_bytes = size if size >= wire.LARGE_BYTES else 0
        self._large_room_bytes -= large_bytes
        try:
            if not isinstance(accepted, Job):
                threads = self._large if large_bytes else self._medium
                accepted = await threads.do(client, wire.job_from_request, accepted, self._description)
            report = await self._executor.execute(accepted, client)
        finally:
            self._large_room_bytes += large_bytes
        self._observer.reported(report)
        return wire.response_from_report(report), self._hold(report)

    def refusal(self, job_id: str, error: Exception) -> wire.Refusal:
        """What a client is told in place of a report."""
        if not isinstance(error, EngineError):
            _log.error("job %r met a fault of the engine", job_id, exc_info=error)
        refusal = wire.refusal_of(error)
        self._observer.refused(refusal.code)
        return refusal

    def _hold(self, report: Report) -> int:
        """The bytes of its outputs, which have room until they are let go. Raises Busy."""
        held_bytes = len(report.stdout) + len(report.stderr)
        if held_bytes > self._unread_room_bytes:
            for stream in self._streams:
                stream.make_room(self._stalled_s)
        if held_bytes > self._unread_room_bytes:
            raise Busy(retry_after_ms=_UNREAD_RETRY_MS)
        self._unread_room_bytes -= held_bytes
        return held_bytes

    def let_go(self, held_bytes: int) -> None:
        """A response with so much was written, or will never be."""
        self._unread_room_bytes += held_bytes

    def outputs_of(self, request: pb.ExecuteRequest) -> int:
        """How many bytes of outputs the response may have."""
        return 2 * (request.limits.output_bytes or self._description.default_limits.output_bytes)

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
    """One ExecuteStream call. `ended_by` says what ended it before the client's last request was read and answered.

    Responses are held back only while more than `plenty` programs run.
    """

    def __init__(self, service: ExecutionService, context: _Context, *, window: int, plenty: int, gather_ms: float) -> None:
        self.ended_by: EngineError | None = None
        self.is_cut_off = False
        self._service = service
        self._context = context
        self._places = window
        self._window = asyncio.Semaphore(window)
        self._plenty = plenty
        self._under_way: dict[str, int] = {}  # the places that each id takes
        self._held_bytes: dict[str, int] = {}
        self._programs: dict[str, asyncio.Task[None]] = {}
        self._reader: asyncio.Task[None] | None = None
        self._reading = True
        self._client = f"stream {id(self)}"
        self._outbox: wire.Outbox[pb.ExecuteResponse] = wire.Outbox(gather_ms=gather_ms)
        self._writes_since = math.inf

    def stop_reading(self, reason: EngineError) -> None:
        if self._reader is not None and self._reader.cancel():
            self.ended_by = reason

    def make_room(self, stalled_s: float) -> None:
        """Refuse what waits to be written, where the client has not taken a message for so long."""
        if time.monotonic() - self._writes_since > stalled_s:
            self._outbox.exchange(self._without_outputs)

    def _without_outputs(self, response: pb.ExecuteResponse) -> pb.ExecuteResponse:
        held_bytes = self._held_bytes.pop(response.id, 0)
        if not held_bytes:
            return response
        self._service.let_go(held_bytes)
        return self._rejection(response.id, Busy(retry_after_ms=_UNREAD_RETRY_MS))

    def _rejection(self, job_id: str, error: Exception) -> pb.ExecuteResponse:
        return wire.response_from_refusal(job_id, self._service.refusal(job_id, error))

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                self._reader = tasks.create_task(self._read(tasks))
                self._reader.add_done_callback(self._read_all)
                tasks.create_task(self._write())
        except* grpc.aio.InternalError:  # a response had nowhere to go
            self.is_cut_off = True
        finally:
            self._outbox.close()
            self._service.let_go(sum(self._held_bytes.values()))

    async def _read(self, tasks: asyncio.TaskGroup) -> None:
        """To the end, or to what ends the stream: then programs end, and the writer by itself, since no write can be cut off."""
        try:
            await self._read_requests(tasks)
        except BadJob as fault:
            self.ended_by = fault
            for program in self._programs.values():
                program.cancel()

    async def _read_requests(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            async with self._window:  # nothing is read that could not start, and nobody else takes the place
                pass
            message = await self._context.read()
            if message is grpc.aio.EOF:
                return
            for request in (await self._service.read(message, pb.ExecuteStreamRequest, self._client)).requests:
                size = request.ByteSize()
                places = max(1, min(self._places, (size + self._service.outputs_of(request)) // _PLACE_BYTES))
                for _ in range(places):
                    await self._window.acquire()
                self._start(request, size, places, tasks)

    def _read_all(self, _: object) -> None:
        self._reading = False
        self._outbox.flush()

    def _start(self, request: pb.ExecuteRequest, size: int, places: int, tasks: asyncio.TaskGroup) -> None:
        if request.id in self._under_way:
            raise BadJob(f"two requests with the id {request.id[:80]!r} are under way; give each its own")
        self._under_way[request.id] = places
        try:
            accepted = self._service.accept(request, size, self._client)
        except Exception as error:  # noqa: BLE001  # the edge: every error becomes a rejection
            self._answer(self._rejection(request.id, error))
        else:  # with the job, so that the message it came in can go
            program = self._programs[request.id] = tasks.create_task(self._execute(request.id, accepted, size))
            program.add_done_callback(partial(self._ended, request.id))

    def _ended(self, job_id: str, program: asyncio.Task[None]) -> None:
        del self._programs[job_id]
        if program.cancelled():  # nobody will answer
            del self._under_way[job_id]
            self._outbox.flush()

    async def _execute(self, job_id: str, accepted: Job | pb.ExecuteRequest, size: int) -> None:
        try:
            response, self._held_bytes[job_id] = await self._service.execute(accepted, size, self._client)
        except Exception as error:  # noqa: BLE001  # the edge, as above
            response = self._rejection(job_id, error)
        self._answer(response)

    def _answer(self, response: pb.ExecuteResponse) -> None:
        running = len(self._under_way) - len(self._outbox) - 1
        self._outbox.put(response, hurry=running <= self._plenty)

    async def _write(self) -> None:
        while self._reading or self._under_way:
            if group := await self._outbox.group():
                places = sum(self._under_way.pop(response.id) for response in group)
                held_bytes = sum(self._held_bytes.pop(response.id, 0) for response in group)
                self._writes_since = time.monotonic()
                try:
                    await self._context.write(pb.ExecuteStreamResponse(responses=group))
                finally:
                    self._writes_since = math.inf
                    self._service.let_go(held_bytes)
                for _ in range(places):
                    self._window.release()


async def _abort(context: _Context, refusal: wire.Refusal) -> NoReturn:
    status = wire.status_of(refusal)
    await context.abort(status.code, status.details, status.trailing_metadata)
