"""`AsyncClient`: an engine, as coroutines.

Each method is one RPC. What the engine refuses with a delay is asked again after that delay, for `retry_time_ms` at most;
everything else that is no report is raised as one of engine.errors, with a message that says what happened and what helps.
After a refusal, calls wait in the client rather than to be refused in their turn: engine.client.congestion says how many.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from types import TracebackType
from typing import Any, Self

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from engine import wire
from engine.client.congestion import CongestionWindow
from engine.client.connection import Connection
from engine.client.stream import JobStream, OnBadJob, Rejected, Result
from engine.errors import BadJob, Busy, ConnectionFailed, Unavailable
from engine.records import Description, Job, Report
from protos.execution.v1 import execution_pb2 as pb

DEFAULT_ADDRESS = "localhost:50051"
DEFAULT_WINDOW: int = 256


class AsyncClient:
    """A client of the engine at `address`, which is host:port or unix:PATH. Connects at its first call."""

    def __init__(self, address: str = DEFAULT_ADDRESS, *, retry_time_ms: int = 60_000) -> None:
        self._connection = Connection(address)
        self._window = CongestionWindow()
        self._retry_time_ms = retry_time_ms

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connection; programs under way end."""
        await self._connection.__aexit__(None, None, None)

    async def execute(self, job: Job) -> Report:
        """Runs one job. Cancelling ends the program.

        Raises BadJob, Busy or Unavailable where the engine still refuses after `retry_time_ms`, ConnectionFailed, EngineGone
        and EngineFault. A program that fails is no error: the report says so.
        """

        async def call(patience_until: float) -> Report:
            async with self._window.place(patience_until):
                response = await self._call("Execute", wire.request_from_job(job))
            return wire.report_from_message(response.id, response.report)

        return await self._retried(call)

    async def execute_stream(
        self,
        jobs: AsyncIterable[Job] | Iterable[Job],
        *,
        window: int = DEFAULT_WINDOW,
        on_bad_job: OnBadJob | None = None,
    ) -> AsyncGenerator[Report, None]:
        """Runs many jobs, yielding each report as soon as its program is done, in any order.

        Jobs are taken from `jobs` as room comes up: at most `window` are under way or wait to be consumed. Ids must be unique.
        A job that the engine is too busy for is sent again. The first job that cannot be run as it is raises BadJob, which
        names it, unless `on_bad_job` is there to be told of its id and the error. That, leaving the iteration (as
        contextlib.aclosing does at once) and cancellation end what is under way.
        Raises also what `jobs` raises, Unavailable where the engine is being stopped, ConnectionFailed, EngineGone, EngineFault.
        """
        results: asyncio.Queue[Result] = asyncio.Queue()
        room = asyncio.Semaphore(window)
        stream = await self.open_stream(results.put_nowait)
        feeder = asyncio.create_task(_feed(stream, jobs, room, on_bad_job))
        try:
            while (result := await results.get()) is not None:
                if isinstance(result, BaseException):
                    raise result
                room.release()
                if isinstance(result, Rejected):
                    result.tell(on_bad_job)
                else:
                    yield result
        finally:
            feeder.cancel()
            await asyncio.wait({feeder})
            await stream.close()

    async def open_stream(self, deliver: Callable[[Result], None]) -> JobStream:
        """What `execute_stream` is made of, for those who count on their own what is under way. To be closed."""
        return await JobStream.open(self._connection, deliver)

    async def describe(self) -> Description:
        """What the engine runs and allows. Raises as `execute`."""

        async def call(_: float) -> Description:
            return wire.description_from_message(await self._call("Describe", pb.DescribeRequest()))

        return await self._retried(call)

    async def wait_ready(self, timeout_ms: int = 60_000) -> None:
        """Returns when the engine takes jobs. Raises ConnectionFailed or Unavailable where it does not within the time."""
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_ms / 1000
        stub: Any = health_pb2_grpc.HealthStub(self._connection.channel)
        listening = False
        while (left := end - loop.time()) > 0:
            try:
                answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=left)
                if answer.status == health_pb2.HealthCheckResponse.SERVING:
                    return
                listening = True
            except grpc.aio.AioRpcError:
                listening = False
            await self._connection.settled(min(0.05, left))
        if listening:
            raise Unavailable(f"the engine at {self._connection.address} is not ready after {timeout_ms} ms; see its log")
        raise self._connection.nobody()

    async def _call(self, method: str, request: Any) -> Any:
        stub = await self._connection.stub()
        try:
            return await getattr(stub, method)(request)
        except grpc.aio.AioRpcError as error:
            raise self._connection.failure(error, "before it answered") from error

    async def _retried[T](self, call: Callable[[float], Awaitable[T]]) -> T:
        loop = asyncio.get_running_loop()
        end = loop.time() + self._retry_time_ms / 1000
        refused: Busy | Unavailable | None = None
        while True:
            try:
                return await call(end)
            except (Busy, Unavailable) as refusal:
                refused = refusal
                if loop.time() + refusal.retry_after_ms / 1000 > end:
                    raise
            except ConnectionFailed as gone:
                raise refused or gone from None  # it said why before it went
            await asyncio.sleep(refused.retry_after_ms / 1000)


async def _feed(
    stream: JobStream, jobs: AsyncIterable[Job] | Iterable[Job], room: asyncio.Semaphore, on_bad_job: OnBadJob | None
) -> None:
    try:
        async for job in _each(jobs):
            try:
                request = stream.request(job)
            except BadJob as error:
                Rejected(job.id, error).tell(on_bad_job)
                continue
            await room.acquire()
            stream.send(request)
        stream.finish()
    except Exception as error:  # noqa: BLE001  # whatever the jobs raise reaches the consumer of the reports
        stream.fail(error)


async def _each(jobs: AsyncIterable[Job] | Iterable[Job]) -> AsyncIterator[Job]:
    if isinstance(jobs, AsyncIterable):
        async for job in jobs:
            yield job
    else:
        for job in jobs:
            yield job
            await asyncio.sleep(0)  # what was sent and what came get their turn before the next one is taken
