"""An engine that goes away while programs run: what is sent again, how long it is waited for, and what is said."""

import os
import signal
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from pathlib import Path

import pytest

from engine.client import ConnectionFailed, EngineGone, Job, Report, Trust, Verdict
from tests.trainer.fakes import FakeExecutor
from trainer.execution import serve
from trainer.recipe import Engine
from trainer.reconnection import Reconnecting


class Engines:
    """Engines in turn: each answers so many jobs and goes away; 0 is one that nobody reaches. The last one stays."""

    def __init__(self, *answers: int) -> None:
        self._answers = list(answers)
        self.received: list[list[str]] = []

    def connect(self) -> "Flaky":
        self.received.append([])
        return Flaky(self._answers.pop(0) if self._answers else None, self.received[-1])


class Flaky(FakeExecutor):
    def __init__(self, answers: int | None, received: list[str]) -> None:
        super().__init__()
        self._answers, self._received = answers, received

    async def execute_stream(self, jobs: AsyncIterable[Job]) -> AsyncGenerator[Report, None]:
        if self._answers == 0:
            raise ConnectionFailed("nobody answers")
        async for job in jobs:
            self._received.append(job.id)
            if self._answers is not None and len(self._received) > self._answers:
                raise EngineGone("the engine went away")
            yield Report(id=job.id, verdict=Verdict.PASSED, trust=Trust.EXAMINED)


class Clock:
    """Time that passes in sleeps alone."""

    def __init__(self) -> None:
        self.time = 0.0

    async def sleep(self, seconds: float) -> None:
        self.time += seconds

    def now(self) -> float:
        return self.time


def job(name: str) -> Job:
    return Job(id=name, program="print('here')")


async def jobs(count: int) -> AsyncIterator[Job]:
    for number in range(count):
        yield job(str(number))


def reconnecting(engines: Engines, clock: Clock, said: list[str]) -> Reconnecting:
    return Reconnecting(engines.connect, 60_000, said.append, sleep=clock.sleep, now=clock.now)


async def test_every_job_gets_one_report_though_the_engine_comes_and_goes() -> None:
    """What was answered is not sent again."""
    engines, said = Engines(2, 0, 0, 1), list[str]()
    executor = reconnecting(engines, Clock(), said)
    answered = [report.id async for report in executor.execute_stream(jobs(6))]
    assert sorted(answered) == [str(number) for number in range(6)]
    assert engines.received == [["0", "1", "2"], [], [], ["2", "3"], ["3", "4", "5"]]


async def test_its_absence_and_return_are_said() -> None:
    """Once each, with the programs that are sent again."""
    engines, clock, said = Engines(2, 0, 0), Clock(), list[str]()
    executor = reconnecting(engines, clock, said)
    assert len([report async for report in executor.execute_stream(jobs(4))]) == 4
    away, back = said
    assert "the engine is away (the engine went away); waiting for it, at most 60 s; 1 programs will be sent again" in away
    assert f"the engine is back after {clock.time:.0f} s" in back


async def test_an_engine_that_stays_away_ends_the_run_in_time() -> None:
    """After the recipe's patience, with what was wrong with it."""
    clock = Clock()
    executor = reconnecting(Engines(*[0] * 100), clock, [])
    with pytest.raises(ConnectionFailed, match="nobody answers"):
        [report async for report in executor.execute_stream(jobs(2))]
    assert clock.time == 60.0


async def test_what_the_jobs_raise_arrives() -> None:
    """A sampler that breaks is no absence of the engine."""

    async def broken() -> AsyncIterator[Job]:
        yield job("a")
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        [report async for report in reconnecting(Engines(), Clock(), []).execute_stream(broken())]


@pytest.mark.jail
async def test_the_engine_of_a_run_is_started_again_where_it_died() -> None:
    """SIGKILL to it while programs run: a new one answers for all that had no report, and nothing is lost."""
    said: list[str] = []
    before = children()
    with serve(Engine()) as connect:
        [engine] = children() - before
        answered: list[Report] = []
        async for report in Reconnecting(connect, 60_000, said.append).execute_stream(jobs(40)):
            answered.append(report)
            if len(answered) == 5:
                os.kill(engine, signal.SIGKILL)
    assert sorted(int(report.id) for report in answered) == list(range(40))
    assert {report.verdict for report in answered} == {Verdict.FINISHED}
    assert len(said) == 2


def children() -> set[int]:
    """Processes of ours."""
    lists = Path("/proc/self/task").glob("*/children")
    return {int(child) for text in lists for child in text.read_text().split()}
