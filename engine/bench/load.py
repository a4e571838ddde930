"""More than an engine can hold: an open loop of unary calls at a given rate, whatever comes back and however late.

    heeding      AsyncClient: what it learns from a refusal keeps most of the next ones from being sent at all
    heedless     a bare stub that sends everything; its requests are made beforehand and the answers read afterwards

The generator shares the cores with the engine: what it uses is taken from the programs, so its share is measured and reported.
"""

import asyncio
import contextlib
import itertools
import tempfile
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import grpc

from engine import wire
from engine.bench.accounting import CpuTimes
from engine.bench.loop import run
from engine.bench.results import LoadPoint
from engine.bench.spread import percentile
from engine.bench.workloads import Workload, offered
from engine.client import AsyncClient, LocalEngine
from engine.errors import Busy, EngineError, EngineFault
from engine.records import Report
from protos.execution.v1 import execution_pb2 as pb

FACTORS = (0.25, 0.5, 0.75, 1.0, 2.0, 4.0, 8.0)
_METHOD = "/rrtf.execution.v1.Execution/Execute"
_QUEUED_PER_SLOT = 32
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
    async with AsyncClient(engine.address, retry_time_ms=0) as client:
        heeding = _Generator(lambda number: client.execute(workload.jobs[number]), workload, engine.pid, heeds=True)
        points = [await heeding.offer(factor, factor * capacity, seconds) for factor in FACTORS]
    async with grpc.aio.insecure_channel(engine.address) as channel:
        heedless = _Generator(_bare(channel.unary_unary(_METHOD), workload), workload, engine.pid, heeds=False)
        return [*points, await heedless.offer(FACTORS[-1], FACTORS[-1] * capacity, seconds)]


def _bare(call: Any, workload: Workload) -> "_Ask":
    requests = [wire.request_from_job(job).SerializeToString() for job in workload.jobs]

    async def ask(number: int) -> bytes:
        try:
            answer: bytes = await call(requests[number])
            return answer
        except grpc.aio.AioRpcError as error:
            raise wire.error_from_rpc(error) or EngineFault(f"the engine under load answered {error.details()}") from error

    return ask


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


type _Ask = Callable[[int], Awaitable[Report | bytes]]
"""Sends the job of that number. Raises Busy where it is refused; the answer may be read later."""


class _Generator:
    def __init__(self, ask: _Ask, workload: Workload, engine: int, *, heeds: bool) -> None:
        self._engine = engine
        self._ask = ask
        self._expected = workload.expected
        self._heeds = heeds
        self._refused: deque[int] = deque()

    async def offer(self, factor: float, rate: float, seconds: float) -> LoadPoint:
        """Sends at that rate for so long, then waits for what is under way; only what ends within the time counts.

        A job that was refused is the next one to be sent, so that of all that is done each job has its share: throughput at
        different loads is throughput of the same programs.
        """
        answers: list[tuple[int, Report | bytes]] = []
        refusals: list[float] = []
        failures: list[EngineError] = []
        tasks: set[asyncio.Task[None]] = set()
        before, started = CpuTimes.of(self._engine), time.perf_counter()
        end = started + seconds
        sent = 0
        turns = itertools.cycle(range(len(self._expected)))
        while (now := time.perf_counter()) < end:
            while sent <= int((now - started) * rate):
                number = self._refused.popleft() if self._refused else next(turns)
                task = asyncio.create_task(self._one(number, answers, refusals, failures))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                sent += 1
            await asyncio.sleep(0.001)
        used = CpuTimes.of(self._engine).since(before)
        done = len(answers)
        refused = len(refusals)
        if tasks:
            await asyncio.wait(tasks, timeout=_DRAIN_S)
        if failures:
            raise failures[0]
        return LoadPoint(
            factor=factor,
            heeds=self._heeds,
            offered=sent / seconds,
            done=done / seconds,
            refused=refused / seconds,
            refusal_p50_ms=percentile(refusals, 0.5) if refusals else 0.0,
            refusal_p99_ms=percentile(refusals, 0.99) if refusals else 0.0,
            wrong_verdicts=sum(_report(answer).verdict is not self._expected[number] for number, answer in answers),
            client_cores=used.client / seconds,
            server_cores=used.server / seconds,
        )

    async def _one(
        self, number: int, answers: list[tuple[int, Report | bytes]], refusals: list[float], failures: list[EngineError]
    ) -> None:
        began = time.perf_counter()
        try:
            answers.append((number, await self._ask(number)))
        except Busy:
            self._refused.append(number)
            refusals.append((time.perf_counter() - began) * 1000)
        except EngineError as error:
            failures.append(error)


def _report(answer: Report | bytes) -> Report:
    if isinstance(answer, Report):
        return answer
    response = pb.ExecuteResponse.FromString(answer)
    return wire.report_from_message(response.id, response.report)
