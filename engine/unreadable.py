"""Messages that protobuf cannot read: they reach the service as None, which refuses them as it refuses any bad request.

gRPC by itself answers UNKNOWN, with the name of the library's exception, and writes a traceback into the log. Large messages
reach the service as bytes, since reading them takes long.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from engine import wire

type _Read = Callable[[bytes], Any]


class Unreadable(grpc.aio.ServerInterceptor):
    """For the methods whose names begin with `prefix`."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any) -> Any:
        handler = await continuation(handler_call_details)
        if handler is None or not handler_call_details.method.startswith(self._prefix):
            return handler
        return handler._replace(request_deserializer=_or_none(handler.request_deserializer))


def _or_none(read: _Read) -> _Read:
    def read_or_none(data: bytes) -> Any:
        try:
            return read(data) if len(data) < wire.LARGE_BYTES else data
        except DecodeError:
            return None

    return read_or_none
