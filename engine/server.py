"""One engine process: binds the address, proves that the jail works, serves, and goes in two stages.

    listen -> run a jailed program -> SERVING, announce -> (signal) drain, at most drain_time_ms -> cancel what is left -> done

While it starts it listens and answers UNAVAILABLE, so that a client can tell "not ready" from "nobody there". The first
SIGTERM or SIGINT begins the drain, the second ends it. Programs that are cancelled are waited for, so that whoever owns the
executor can close it afterwards with nothing under way.

What runs a program, from here down: engine.service (the RPCs) -> engine.pool (the executor, which engine.assembly puts together)
-> engine.execution -> engine.jail.slot -> engine.jail.inside.zygote, which forks.
"""

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from engine import wire
from engine.binding import bind, unbind
from engine.errors import JailUnavailable
from engine.health import Health
from engine.records import Description, Job, Limits, Verdict
from engine.service import ExecutionService, Executor, Observer
from engine.unreadable import Unreadable
from protos.execution.v1 import execution_pb2_grpc as pb_grpc

SERVICE = "rrtf.execution.v1.Execution"

_OPTIONS = [
    ("grpc.max_send_message_length", wire.MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", wire.MAX_MESSAGE_BYTES),
    ("grpc.so_reuseport", 0),  # a second engine on the same port is an error, not a coin toss
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),  # as many as it takes: a stream may wait long for its next program
    ("grpc.server.max_pending_requests", 1 << 16),  # beyond it gRPC cancels calls, where the engine would say when to come back
    ("grpc.server.max_pending_requests_hard_limit", 1 << 17),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
]
_KEEPALIVE_MS = 20_000
"""How often a client is asked whether it is still there. The programs of one that was cut off end after 1.5 times that."""
_CANCEL_TIME_S = 10.0
"""How long programs that are cancelled may take to be gone."""

_log = logging.getLogger(__name__)


class Stop:
    """The wish to stop, in two stages: `drain`, then `kill`. Each call of `ask` goes one stage further."""

    def __init__(self) -> None:
        self.drain = asyncio.Event()
        self.kill = asyncio.Event()

    def ask(self) -> None:
        (self.kill if self.drain.is_set() else self.drain).set()

    def on_signals(self) -> None:
        """SIGTERM and SIGINT ask."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self.ask)

    def when_readable(self, descriptor: int) -> None:
        """The end of a pipe asks: its writer is gone."""
        loop = asyncio.get_running_loop()

        def look() -> None:
            if not os.read(descriptor, 4096):
                loop.remove_reader(descriptor)
                self.ask()

        loop.add_reader(descriptor, look)


async def probe(executor: Executor) -> None:
    """Runs a program in the jail. Raises JailUnavailable where that does not work."""
    report = await executor.execute(Job(id="readiness", program="print('ready')", limits=Limits()))
    if report.verdict is not Verdict.FINISHED or report.stdout != b"ready\n":
        why = report.cause.message or report.error or report.stderr[-200:].decode("utf-8", "backslashreplace")
        raise JailUnavailable(
            f"a first program in the jail ended with {report.verdict.value}: {why}; see: python -m engine doctor"
        )


async def serve(
    executor: Executor,
    description: Description,
    *,
    listen: str,
    stop: Stop,
    announce: Callable[[str], None],
    ready: Callable[[Executor], Awaitable[None]] = probe,
    stream_window: int = 256,
    gather_ms: float = 20,
    drain_time_ms: int = 30_000,
    keepalive_ms: int = _KEEPALIVE_MS,
    observer: Observer | None = None,
) -> None:
    """Serves until `stop`. `announce` is called with the address once jobs are accepted.

    Raises CannotListen for an address that cannot be had, and whatever `ready` raises.
    """
    service = ExecutionService(executor, description, stream_window=stream_window, gather_ms=gather_ms, observer=observer)
    state = Health("", SERVICE)
    server = grpc.aio.server(options=[*_OPTIONS, *_keepalive(keepalive_ms)], interceptors=[Unreadable(f"/{SERVICE}/")])
    pb_grpc.add_ExecutionServicer_to_server(service, server)  # type: ignore[no-untyped-call]  # generated without types
    health_pb2_grpc.add_HealthServicer_to_server(state, server)
    address = bind(server, listen)
    await server.start()
    try:
        if await _unless(stop.drain, ready(executor)):
            service.open()
            state.say(health_pb2.HealthCheckResponse.SERVING)
            announce(address)
            await stop.drain.wait()
        state.say(health_pb2.HealthCheckResponse.NOT_SERVING)
        service.drain()
        await _drained(service, stop, drain_time_ms)
    finally:
        await server.stop(grace=None)
        await _gone(service)
        unbind(address)


def _keepalive(interval_ms: int) -> list[tuple[str, int]]:
    """An unanswered question ends a connection after the shorter of two times, of which gRPC sets the second to a minute."""
    return [
        ("grpc.keepalive_time_ms", interval_ms),
        ("grpc.keepalive_timeout_ms", interval_ms // 2),
        ("grpc.http2.ping_timeout_ms", interval_ms // 2),
    ]


async def _unless(event: asyncio.Event, work: Awaitable[None]) -> bool:
    """Whether the work was done before the event; the work is cancelled otherwise."""
    worker, waiter = asyncio.ensure_future(work), asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({worker, waiter}, return_when=asyncio.FIRST_COMPLETED)
        if worker.done():
            worker.result()
        return worker.done()
    finally:
        worker.cancel()
        waiter.cancel()
        await asyncio.wait({worker, waiter})


async def _drained(service: ExecutionService, stop: Stop, drain_time_ms: int) -> None:
    _log.info("draining for at most %d ms", drain_time_ms)
    try:
        async with asyncio.timeout(drain_time_ms / 1000):
            if not await _unless(stop.kill, service.idle()):
                _log.warning("asked twice: ending the programs under way")
    except TimeoutError:
        _log.warning("the drain took longer than %d ms: ending the programs under way", drain_time_ms)


async def _gone(service: ExecutionService) -> None:
    try:
        await asyncio.wait_for(service.idle(), _CANCEL_TIME_S)
    except TimeoutError:
        _log.error("programs that were cancelled are not gone after %.0f s", _CANCEL_TIME_S)
