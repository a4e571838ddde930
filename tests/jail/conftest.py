"""A real engine without its socket: a pool of jails in a thread of its own, for the whole session."""

import asyncio
import contextlib
import threading

import pytest

from engine.assembly import open_pool
from engine.config import EngineConfig
from engine.records import MIB, AssertTests, Job, Limits

LIMITS = Limits(
    cpu_time_ms=1_000,
    wall_time_ms=2_000,
    memory_bytes=128 * MIB,
    output_bytes=100_000,
    processes=16,
    open_files=64,
    file_size_bytes=8 * MIB,
)


class Jails:
    """`run` and `run_all` from ordinary tests; `call` anything else on the pool's loop."""

    def __init__(self, config):
        self.config = config
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._stack = contextlib.AsyncExitStack()
        self.pool = self.call(self._stack.enter_async_context(open_pool(config)))

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def run(self, program, **job):
        return self.run_all([Job(**({"id": "job", "program": program, "limits": LIMITS} | job))])[0]

    def run_all(self, jobs):
        async def gather():
            return await asyncio.gather(*map(self.pool.execute, jobs))

        return self.call(gather())

    def close(self):
        self.call(self._stack.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture(scope="session")
def jails():
    opened = Jails(EngineConfig(slots=2))
    yield opened
    opened.close()


def examined(code, *entry_points, prompt="", check=""):
    return AssertTests(code=code, entry_points=entry_points, prompt=prompt, check=check)
