"""More than an engine can hold: an open loop of unary calls at a given rate, whatever comes back and however late.

The generator sends requests that were made beforehand and reads the answers afterwards, because it shares the cores with the
engine: what it uses is taken from the programs. Its share is measured and reported.
"""

import asyncio
import contextlib
import itertools
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any

import grpc

from engine import wire
from engine.bench.accounting import CpuTimes
from engine.bench.loop import run
from engine.bench.results import LoadPoint
from engine.bench.spread import percentile
from engine.bench.workloads import Workload, offered
from engine.client import AsyncClient, LocalEngine
from engine.errors import EngineFault
from protos.execution.v1 import execution_pb2 as pb

FACTORS = (0.25, 0.5, 0.75, 1.0, 2.0, 4.0, 8.0)
_METHOD = "/rrtf.execution.v1.Execution/Execute"
_QUEUED_PER_SLOT = 4
_DRAIN_S = 5.0


@contextlib.contextmanager
def small_engine(slots: int) -> Iterator[LocalEngine]:
    """An engine with a short queue, so that it refuses early. Raises StartFailed."""
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(f"slots = {slots}\nqueue_size = {_QUEUED_PER_SLOT * slots}\n")
        file.flush()
        with LocalEngine(config=file.name) as engine:
            yield engine


def measure_load(slots: int, seconds: float) -> list[LoadPoint]:
    """Points of growing load, each held for that long. Raises EngineError."""
    with small_engine(slots) as engine:
        return run(_measure(engine, offered(), slots, seconds))


async def _measure(engine: LocalEngine, workload: Workload, slots: int, seconds: float) -> list[LoadPoint]:
    assert engine.pid is not None
    capacity = await _capacity(engine.address, workload, 2 * slots, seconds)
    async with grpc.aio.insecure_channel(engine.address) as channel:
        generator = _Generator(channel.unary_unary(_METHOD), workload, engine.pid)
        return [await generator.offer(factor, factor * capacity, seconds) for factor in FACTORS]


async def _capacity(address: str, workload: Workload, in_flight: int, seconds: float) -> float:
    """Programs per second of a closed loop. Test code is known to the engine afterwards."""
    jobs = itertools.cycle(workload.jobs)
    done = 0
    async with AsyncClient(address) as client:
        for job in workload.jobs:
            await client.execute(job)
        end = time.perf_counter() + seconds

        async def worker() -> None:
            nonlocal done
            while time.perf_counter() < end:
                await client.execute(next(jobs))
                done += 1

        await asyncio.gather(*(worker() for _ in range(in_flight)))
    return done / seconds


class _Generator:
    def __init__(self, call: Any, workload: Workload, engine: int) -> None:
        self._engine = engine
        self._call = call
        self._requests = [wire.request_from_job(job).SerializeToString() for job in workload.jobs]
        self._expected = workload.expected

    async def offer(self, factor: float, rate: float, seconds: float) -> LoadPoint:
        """Sends at that rate for so long, then waits for what is under way; only what ends within the time counts."""
        answers: list[tuple[int, bytes]] = []
        refusals: list[float] = []
        failures: list[grpc.aio.AioRpcError] = []
        tasks: set[asyncio.Task[None]] = set()
        before, started = CpuTimes.of(self._engine), time.perf_counter()
        end = started + seconds
        sent = 0
        while (now := time.perf_counter()) < end:
            for number in range(sent, int((now - started) * rate) + 1):
                task = asyncio.create_task(self._one(number % len(self._requests), answers, refusals, failures))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                sent = number + 1
            await asyncio.sleep(0.001)
        used = CpuTimes.of(self._engine).since(before)
        done = len(answers)
        refused = len(refusals)
        if tasks:
            await asyncio.wait(tasks, timeout=_DRAIN_S)
        if failures:
            raise EngineFault(f"the engine under load answered {failures[0].code()}: {failures[0].details()}")
        return LoadPoint(
            factor=factor,
            offered=sent / seconds,
            done=done / seconds,
            refused=refused / seconds,
            refusal_p50_ms=percentile(refusals, 0.5) if refusals else 0.0,
            refusal_p99_ms=percentile(refusals, 0.99) if refusals else 0.0,
            wrong_verdicts=self._wrong(answers),
            client_cores=used.client / seconds,
            server_cores=used.server / seconds,
        )

    async def _one(
        self, index: int, answers: list[tuple[int, bytes]], refusals: list[float], failures: list[grpc.aio.AioRpcError]
    ) -> None:
        began = time.perf_counter()
        try:
            answer = await self._call(self._requests[index])
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
                refusals.append((time.perf_counter() - began) * 1000)
            else:
                failures.append(error)
        else:
            answers.append((index, answer))

    def _wrong(self, answers: Sequence[tuple[int, bytes]]) -> int:
        wrong = 0
        for index, answer in answers:
            response = pb.ExecuteResponse.FromString(answer)
            report = wire.report_from_message(response.id, response.report)
            wrong += report.verdict is not self._expected[index]
        return wrong
