"""The health service: what it says, and that nobody who asks it can keep it from saying so to others."""

import asyncio

from grpc_health.v1 import health_pb2 as pb

from engine.health import Health

SERVING, NOT_SERVING = pb.HealthCheckResponse.SERVING, pb.HealthCheckResponse.NOT_SERVING
UNKNOWN = pb.HealthCheckResponse.SERVICE_UNKNOWN


class Context:
    """A call whose messages are taken, or never."""

    def __init__(self, *, takes=True):
        self.takes = takes
        self.heard: asyncio.Queue[int] = asyncio.Queue()

    async def write(self, message):
        self.heard.put_nowait(message.status)
        if not self.takes:
            await asyncio.Event().wait()


def watched(health, context, service=""):
    return asyncio.create_task(health.Watch(pb.HealthCheckRequest(service=service), context))


async def test_a_watcher_hears_of_every_change_beside_one_that_takes_nothing():
    """Which waits for its own message, and for nobody else."""
    health = Health("", "name")
    stuck, reading = Context(takes=False), Context()
    watchers = [watched(health, stuck), watched(health, reading, "name")]
    assert (await stuck.heard.get(), await reading.heard.get()) == (NOT_SERVING, NOT_SERVING)
    for status in (SERVING, NOT_SERVING):
        health.say(status)
        assert await reading.heard.get() == status
    for watcher in watchers:
        watcher.cancel()


async def test_who_watches_a_name_that_is_none_is_told_so_and_leaves():
    """The call would hold the name, however long, for as long as it lasts."""
    context = Context()
    await watched(Health("name"), context, "x" * 1000)
    assert context.heard.get_nowait() == UNKNOWN
