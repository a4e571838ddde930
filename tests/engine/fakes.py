"""An executor we own, and an engine around it that really listens on a socket.

`FakeExecutor` reads its orders from the program's text, so that a test says beside its job what should become of it:

    "pass"         passes at once
    "echo: TEXT"   finishes with TEXT on stdout
    "hold"         waits until the test releases it, or is cancelled
    "busy N"       is refused N times, then passes
    "bad TEXT"     cannot be run, for that reason
    "crash"        is a fault of the engine's own code
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from engine.errors import BadJob, Busy
from engine.records import MIB, Description, Job, Language, Limits, Report, Verdict
from engine.server import Stop, serve
from engine.service import Executor, Observer

DESCRIPTION = Description(
    languages=(Language(name="python", version="CPython 3.12.1"),),
    default_limits=Limits(),
    maximum_limits=Limits(
        cpu_time_ms=60_000,
        wall_time_ms=120_000,
        memory_bytes=1024 * MIB,
        output_bytes=16 * MIB,
        processes=64,
        open_files=512,
        file_size_bytes=256 * MIB,
    ),
    slots=2,
    version="0",
)


class FakeExecutor:
    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.cancelled: list[str] = []
        self.clients: list[str] = []
        self.running: set[str] = set()
        self.most_running = 0
        self.released = asyncio.Event()
        self._began = asyncio.Condition()
        self._refusals: Counter[str] = Counter()

    def admit(self, client: str) -> None:
        """Refuses only those that ask for it, below."""

    async def execute(self, job: Job, client: str = "") -> Report:
        program = job.program.decode() if isinstance(job.program, bytes) else job.program
        order, _, rest = program.partition(" ")
        if order == "busy" and self._refusals[job.id] < int(rest):
            self._refusals[job.id] += 1
            raise Busy(retry_after_ms=1)
        async with self._began:
            self.jobs.append(job)
            self.clients.append(client)
            self.running.add(job.id)
            self.most_running = max(self.most_running, len(self.running))
            self._began.notify_all()
        try:
            return await self._run(job, order, rest)
        except asyncio.CancelledError:
            self.cancelled.append(job.id)
            raise
        finally:
            self.running.discard(job.id)
            async with self._began:
                self._began.notify_all()

    async def _run(self, job: Job, order: str, rest: str) -> Report:
        if order == "hold":
            await self.released.wait()
        if order == "bad":
            raise BadJob(rest)
        if order == "crash":
            raise RuntimeError("a secret of the engine")
        if order == "echo:":
            return Report(id=job.id, verdict=Verdict.FINISHED, stdout=rest.encode())
        return Report(id=job.id, verdict=Verdict.PASSED)

    async def running_are(self, count: int) -> None:
        """Returns once so many programs run."""
        async with self._began:
            await self._began.wait_for(lambda: len(self.running) == count)


class FakeEngine:
    def __init__(self, executor: FakeExecutor, stop: Stop, address: str, task: "asyncio.Task[None]") -> None:
        self.executor = executor
        self.stop = stop
        self.address = address
        self.task = task


type Ready = Callable[[Executor], Awaitable[None]]


async def nothing_to_prove(_: object) -> None:
    """Readiness of an engine without a jail."""


@asynccontextmanager
async def fake_engine(
    folder: Path,
    *,
    stream_window=8,
    gather_ms=20.0,
    drain_time_ms=60_000,
    keepalive_ms=20_000,
    ready: Ready = nothing_to_prove,
    observer: Observer | None = None,
) -> AsyncIterator[FakeEngine]:
    """An engine that listens on a socket in `folder` and executes nothing real."""
    executor, stop, announced = FakeExecutor(), Stop(), asyncio.Event()
    address = f"unix:{folder}/engine.sock"
    serving = serve(
        executor,
        DESCRIPTION,
        listen=address,
        stop=stop,
        announce=lambda _: announced.set(),
        ready=ready,
        stream_window=stream_window,
        gather_ms=gather_ms,
        drain_time_ms=drain_time_ms,
        keepalive_ms=keepalive_ms,
        observer=observer,
    )
    task = asyncio.create_task(serving)
    waiter = asyncio.create_task(announced.wait())
    await asyncio.wait({waiter, task}, return_when=asyncio.FIRST_COMPLETED)
    waiter.cancel()
    try:
        yield FakeEngine(executor, stop, address, task)
    finally:
        stop.ask()
        stop.ask()
        await task
