"""The engine by each of its doors: its stream, one call per program, and the way that `grade` goes.

    engine: stream               AsyncClient.execute_stream over the engine's socket
    engine: stream, new tests    the same with test code that the engine has not made ready before
    engine: unary                one call per program, some at a time
    engine: grade                Client.execute_stream and the tally, as `python -m engine grade` runs it

A door is a contender like the baselines. Connecting does not count, and a wrong verdict ends the benchmark: speed
without the right verdicts is worth nothing.
"""

import asyncio
import itertools
import time
from collections.abc import Iterable
from typing import Protocol

from engine.bench.loop import run
from engine.bench.workloads import Workload, new_tests
from engine.client import AsyncClient, Client, Report
from engine.errors import EngineFault
from engine.grading import Tally

STREAM, NEW_TESTS, UNARY, GRADE = "engine: stream", "engine: stream, new tests", "engine: unary", "engine: grade"


class Contender(Protocol):
    """One way to run a workload."""

    @property
    def name(self) -> str: ...

    def run(self, workload: Workload, turn: int) -> float | None:
        """Seconds for the whole workload; None where this way makes no difference to another. Raises EngineError."""
        ...


def doors(address: str, in_flight: int) -> list["Contender"]:
    """All of them. `in_flight` is how many unary calls are under way at once."""
    return [Stream(address), NewTests(address), Unary(address, in_flight), Grade(address)]


class Stream:
    name = STREAM

    def __init__(self, address: str) -> None:
        self.reports: list[Report] = []
        """Of the last run."""
        self._address = address

    def run(self, workload: Workload, turn: int) -> float | None:
        return run(self._run(workload))

    async def _run(self, workload: Workload) -> float:
        async with AsyncClient(self._address) as client:
            await client.describe()
            started = time.perf_counter()
            self.reports = [report async for report in client.execute_stream(workload.jobs)]
            seconds = time.perf_counter() - started
        check(workload, self.reports)
        return seconds


class NewTests(Stream):
    name = NEW_TESTS

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self._numbers = itertools.count()

    def run(self, workload: Workload, turn: int) -> float | None:
        changed = new_tests(workload, next(self._numbers))
        return super().run(changed, turn) if changed is not None else None


class Unary:
    name = UNARY

    def __init__(self, address: str, in_flight: int) -> None:
        self._address = address
        self._in_flight = in_flight

    def run(self, workload: Workload, turn: int) -> float | None:
        return run(self._run(workload))

    async def _run(self, workload: Workload) -> float:
        jobs = iter(workload.jobs)
        reports: list[Report] = []
        async with AsyncClient(self._address) as client:
            await client.describe()

            async def worker() -> None:
                for job in jobs:
                    reports.append(await client.execute(job))

            started = time.perf_counter()
            await asyncio.gather(*(worker() for _ in range(self._in_flight)))
            seconds = time.perf_counter() - started
        check(workload, reports)
        return seconds


class Grade:
    name = GRADE

    def __init__(self, address: str) -> None:
        self._address = address

    def run(self, workload: Workload, turn: int) -> float | None:
        tally, reports = Tally(), []
        with Client(self._address) as client:
            client.describe()
            started = time.perf_counter()
            for report in client.execute_stream(list(workload.jobs)):
                tally.add(report.id, report.verdict, report.trust)
                reports.append(report)
            seconds = time.perf_counter() - started
        check(workload, reports)
        return seconds


def check(workload: Workload, reports: Iterable[Report]) -> None:
    """Raises EngineFault where a verdict is not the expected one."""
    expected = {job.id: verdict for job, verdict in zip(workload.jobs, workload.expected, strict=True)}
    answered = {report.id: report for report in reports}
    for name, verdict in expected.items():
        if name not in answered:
            raise EngineFault(f"the engine gave no report for {name} of the workload {workload.name}")
        report = answered[name]
        if report.verdict is not verdict:
            why = report.cause.message or report.error.strip()[-200:]
            raise EngineFault(
                f"{name} of the workload {workload.name} ended with {report.verdict.value}, not {verdict.value}: {why}"
            )
