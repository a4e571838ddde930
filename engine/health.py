"""gRPC's standard health service. Its own library writes to watchers under a lock that every change needs: one that reads nothing
would keep the engine from starting and from ending. Here nobody waits for a watcher.
"""

import asyncio
from typing import Any

import grpc
from grpc_health.v1 import health_pb2 as pb
from grpc_health.v1 import health_pb2_grpc as pb_grpc


class Health(pb_grpc.HealthServicer):
    """Tells of all `names` the same: not serving until `say` says otherwise."""

    def __init__(self, *names: str) -> None:
        self._names = frozenset(names)
        self._status: int = pb.HealthCheckResponse.NOT_SERVING
        self._changed = asyncio.Event()

    def say(self, status: int) -> None:
        """From now on."""
        self._status = status
        self._changed.set()
        self._changed = asyncio.Event()

    async def Check(self, request: pb.HealthCheckRequest, context: grpc.aio.ServicerContext[Any, Any]) -> pb.HealthCheckResponse:
        if request.service not in self._names:
            await context.abort(grpc.StatusCode.NOT_FOUND)
        return pb.HealthCheckResponse(status=self._status)

    async def Watch(self, request: pb.HealthCheckRequest, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        """Ends at once for names that there will never be: a call holds what it was sent for as long as it lasts."""
        if request.service not in self._names:
            await context.write(pb.HealthCheckResponse(status=pb.HealthCheckResponse.SERVICE_UNKNOWN))
            return
        while True:
            changed = self._changed
            await context.write(pb.HealthCheckResponse(status=self._status))
            await changed.wait()
