"""How the cost of a program grows with what it brings, and what an engine does with more slots or a second engine beside it."""

import asyncio
import itertools
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from engine.bench.doors import check
from engine.bench.loop import run
from engine.bench.workloads import Workload, stdio, trivial
from engine.client import MIB, AsyncClient, Client, Job, Limits, LocalEngine, Verdict

_LIMITS = Limits(output_bytes=8 * MIB, memory_bytes=1024 * MIB)


def _tests(size: int) -> Workload:
    return stdio(tests=size, count=1)


def _output(size: int) -> Workload:
    return _single(Job(id="output", program=f"print('a' * {size * 1024})\n", limits=_LIMITS))


def _program(size: int) -> Workload:
    lines = itertools.cycle(("a = 1\n", "b = [a, 2]\n", "if a > 5: b = None\n"))
    source, length = [], 0
    while length < size * 1024:
        source.append(next(lines))
        length += len(source[-1])
    return _single(Job(id="program", program="".join(source), limits=_LIMITS))


def _single(job: Job) -> Workload:
    return Workload(name=job.id, jobs=(job,), scripts=(), expected=(Verdict.FINISHED,))


GROWING: dict[str, tuple[Callable[[int], Workload], Sequence[int]]] = {
    "stdin tests": (_tests, (1, 4, 16, 64, 128)),
    "output in KiB": (_output, (1, 16, 256, 1024, 4096)),
    "program in KiB": (_program, (1, 8, 64, 128, 256)),
}
"""What grows, and its sizes."""
_REPEATS = 5


def measure_growth(address: str) -> dict[str, list[tuple[float, float]]]:
    """Milliseconds of one program by size, one at a time, the best of a few. Raises EngineError."""
    with Client(address) as client:
        return {
            name: [(float(size), _milliseconds(client, make(size))) for size in sizes] for name, (make, sizes) in GROWING.items()
        }


def _milliseconds(client: Client, workload: Workload) -> float:
    times = []
    for _ in range(_REPEATS):
        began = time.perf_counter()
        report = client.execute(workload.jobs[0])
        times.append((time.perf_counter() - began) * 1000)
        check(workload, [report])
    return min(times)


def slot_numbers(count: int) -> list[int]:
    """Powers of two up to twice as many as there are cores, and one more than there are."""
    return sorted({1, count, count + 1, 2 * count} | {2**power for power in range(count.bit_length())})


def measure_slots(numbers: Iterable[int], workload: Workload) -> dict[int, float]:
    """Programs per second of engines with so many slots. Raises EngineError."""
    speeds = {}
    for slots in numbers:
        with LocalEngine(slots=slots) as engine:
            speeds[slots] = run(_speed([engine.address], workload))
    return speeds


def measure_engines(cores: Sequence[int]) -> dict[int, float]:
    """Programs per second of one engine on the first core and of one on each core, round robin. Raises EngineError.

    The client runs on the same cores as the engines: with one engine, everything there is runs on one core.
    """
    workload = trivial(400)
    speeds = {}
    for used in (cores[:1], cores):
        with ExitStack() as stack:
            engines = [stack.enter_context(_pinned_engine(core)) for core in used]
            with _confined_to(used):
                speeds[len(used)] = run(_speed([engine.address for engine in engines], workload))
    return speeds


def _pinned_engine(core: int) -> LocalEngine:
    start = f"import os, sys; os.sched_setaffinity(0, [{core}]); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    return LocalEngine(command=(sys.executable, "-c", start, "-m", "engine", "serve"))


@contextmanager
def _confined_to(cores: Iterable[int]) -> Iterator[None]:
    """All threads of this process, those of gRPC included, on these cores only."""
    before = os.sched_getaffinity(0)
    _set_affinity(cores)
    try:
        yield
    finally:
        _set_affinity(before)


def _set_affinity(cores: Iterable[int]) -> None:
    for thread in os.listdir("/proc/self/task"):  # noqa: PTH208  # names, not paths
        try:
            os.sched_setaffinity(int(thread), cores)
        except ProcessLookupError:  # it ended meanwhile
            continue


async def _speed(addresses: Sequence[str], workload: Workload) -> float:
    """Programs per second with every n-th program to the n-th engine, after a pass that does not count."""
    clients = [AsyncClient(address) for address in addresses]

    async def once() -> float:
        began = time.perf_counter()
        await asyncio.gather(*(_share(client, workload, number, len(clients)) for number, client in enumerate(clients)))
        return time.perf_counter() - began

    try:
        await once()
        return len(workload.jobs) / await once()
    finally:
        for client in clients:
            await client.close()


async def _share(client: AsyncClient, workload: Workload, number: int, of: int) -> None:
    part = replace(workload, jobs=workload.jobs[number::of], expected=workload.expected[number::of])
    check(part, [report async for report in client.execute_stream(part.jobs)])
