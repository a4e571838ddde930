"""One channel to one engine, and the words for what goes wrong with it.

gRPC says UNAVAILABLE both where nobody ever listened and where an engine died a moment ago. So every call first waits until
the channel is connected: a failure there is ConnectionFailed, a failure afterwards is EngineGone.
"""

import asyncio
from types import TracebackType
from typing import Any, Self

import grpc

from engine import wire
from engine.address import parse_address
from engine.errors import ConnectionFailed, EngineError, EngineGone, Unavailable
from protos.execution.v1 import execution_pb2_grpc as pb_grpc

_SETTLING_S = 0.02
"""What a channel still has to say when it is closed comes a moment later. A loop that is closed by then makes gRPC drop what it
has to say to the other loops of the process, whose calls would wait for ever."""
_OPTIONS = [
    ("grpc.max_send_message_length", wire.MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", wire.MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 20_000),  # an engine cut off by the network is noticed
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),  # else a minute, whatever the line above says
    ("grpc.http2.max_pings_without_data", 0),  # as many as it takes: a program may run long
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 20_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.enable_http_proxy", 0),  # engines are reached directly, whatever http_proxy says
    ("grpc.use_local_subchannel_pool", 1),  # no other client's failures
]


class Connection:
    """Connects at the first use, from within the event loop that uses it."""

    def __init__(self, address: str) -> None:
        try:
            parse_address(address)
        except ValueError as error:
            raise ConnectionFailed(f"the address {address!r} {error}") from error
        self.address = address
        self._channel: grpc.aio.Channel | None = None
        self._stub: Any = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._channel is not None:
            await self._channel.close()
            self._channel = self._stub = None
            await asyncio.sleep(_SETTLING_S)

    @property
    def channel(self) -> grpc.aio.Channel:
        if self._channel is None:
            self._channel = grpc.aio.insecure_channel(self.address, options=_OPTIONS)
        return self._channel

    async def stub(self) -> Any:
        """The service, with the channel connected. Raises ConnectionFailed."""
        state = self.channel.get_state(try_to_connect=True)
        while state is not grpc.ChannelConnectivity.READY:
            if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                raise self.nobody()
            await self.channel.wait_for_state_change(state)
            state = self.channel.get_state(try_to_connect=True)
        if self._stub is None:  # to make one costs as much as a call
            self._stub = pb_grpc.ExecutionStub(self.channel)  # type: ignore[no-untyped-call]  # generated without types
        return self._stub

    async def settled(self, timeout_s: float) -> None:
        """Returns when the state of the channel changes, or after the time."""
        state = self.channel.get_state(try_to_connect=True)
        try:
            async with asyncio.timeout(timeout_s):
                await self.channel.wait_for_state_change(state)
        except TimeoutError:
            return

    def nobody(self) -> ConnectionFailed:
        """Nobody listens."""
        return ConnectionFailed(
            f"no engine answers at {self.address}; start one with: python -m engine serve --listen {self.address}"
        )

    def failure(self, error: grpc.aio.AioRpcError, when: str) -> EngineError:
        """What the failure of a call on this connection means. `when` completes "the engine went away ..."."""
        known = wire.error_from_rpc(error)
        if isinstance(known, Unavailable):
            return type(known)(f"{known} ({self.address}, {when})", retry_after_ms=known.retry_after_ms)
        return known or EngineGone(
            f"the engine at {self.address} went away {when}: {error.details()}; "
            "it was killed or it crashed: see its log, start it again and send again what has no report"
        )
