"""Equal jobs share a run where they ask for it, and only what is theirs to share."""

import asyncio
import contextlib
from dataclasses import replace

import pytest

from engine.deduplication import Deduplication
from engine.errors import Busy
from engine.records import MIB, FunctionTest, FunctionTests, Job, Limits, Report, Verdict

JOB = Job(id="a", program="pass", deduplicate=True)


class Runner:
    """Counts its runs; each waits for `go` and then ends as `endings` says, the last of which repeats."""

    def __init__(self, *endings):
        self.endings = list(endings) or [Verdict.FINISHED]
        self.ran = []
        self.go = asyncio.Event()
        self.go.set()

    def admit(self, client):
        raise Busy(retry_after_ms=1)

    async def execute(self, job, client=""):
        self.ran.append(job.id)
        await self.go.wait()
        ending = self.endings.pop(0) if len(self.endings) > 1 else self.endings[0]
        if isinstance(ending, Exception):
            raise ending
        return Report(id=job.id, verdict=ending, stdout=b"x" * 100, cpu_time_ms=3.0, queue_time_ms=5.0)


async def test_an_equal_job_gets_the_report_of_the_first_one_and_is_told():
    runner = Runner()
    executor = Deduplication(runner, MIB)
    first = await executor.execute(JOB)
    second = await executor.execute(replace(JOB, id="b", queue_time_ms=1))
    assert runner.ran == ["a"]
    assert not first.deduplicated
    assert second == replace(first, id="b", queue_time_ms=0.0, deduplicated=True)


async def test_nothing_is_shared_with_a_job_that_does_not_ask():
    runner = Runner()
    executor = Deduplication(runner, MIB)
    for job in (JOB, replace(JOB, deduplicate=False), replace(JOB, deduplicate=False)):
        assert not (await executor.execute(job)).deduplicated
    assert len(runner.ran) == 3


def called(value):
    return FunctionTests(entry_point="f", tests=(FunctionTest(args=(value,), expected=None),))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"program": "pass"}, {"program": b"pass"}),
        ({"limits": Limits()}, {"limits": Limits(cpu_time_ms=1)}),
        ({"stdin": b""}, {"stdin": b"1"}),
        ({"files": {"a": b"1"}}, {"files": {"a": b"2"}}),
        ({"tests": called(10**5000)}, {"tests": called(10**5000 + 1)}),
        *(({"tests": called(a)}, {"tests": called(b)}) for a, b in ((1, True), (1, 1.0), (0.0, -0.0), ("1", b"1"), ([1], (1,)))),
    ],
)
async def test_jobs_that_differ_at_all_are_run_each(one, other):
    """Python finds some of these equal; a program could tell them apart."""
    runner = Runner()
    executor = Deduplication(runner, MIB)
    for fields in (one, other):
        await executor.execute(replace(JOB, **fields))
    assert len(runner.ran) == 2


async def test_equal_jobs_under_way_at_once_share_a_run():
    runner = Runner()
    runner.go.clear()
    executor = Deduplication(runner, 0)
    tasks = [asyncio.create_task(executor.execute(replace(JOB, id=str(number)))) for number in range(5)]
    await asyncio.sleep(0)
    runner.go.set()
    reports = await asyncio.gather(*tasks)
    assert len(runner.ran) == 1
    assert sorted(report.id for report in reports) == list("01234")
    assert sum(report.deduplicated for report in reports) == 4


async def test_a_job_that_is_cancelled_takes_none_of_its_equals_along():
    """The next one runs in its place."""
    runner = Runner()
    runner.go.clear()
    executor = Deduplication(runner, MIB)
    tasks = [asyncio.create_task(executor.execute(replace(JOB, id=name))) for name in "abc"]
    await asyncio.sleep(0)
    tasks[0].cancel()
    await asyncio.wait(tasks[:1])
    runner.go.set()
    reports = await asyncio.gather(*tasks[1:])
    assert len(runner.ran) == 2
    assert [report.deduplicated for report in reports] == [False, True]


async def test_who_waits_for_an_equal_job_may_be_cancelled_alone():
    runner = Runner()
    runner.go.clear()
    executor = Deduplication(runner, MIB)
    tasks = [asyncio.create_task(executor.execute(replace(JOB, id=name))) for name in "ab"]
    await asyncio.sleep(0)
    tasks[1].cancel()
    await asyncio.wait(tasks[1:])
    runner.go.set()
    assert (await tasks[0]).verdict is Verdict.FINISHED


@pytest.mark.parametrize("ending", [Verdict.INFRASTRUCTURE_ERROR, Verdict.CANCELLED, Busy(retry_after_ms=1)], ids=str)
async def test_what_says_nothing_about_the_program_is_not_kept(ending):
    runner = Runner(ending, Verdict.FINISHED)
    executor = Deduplication(runner, MIB)
    with contextlib.suppress(Busy):
        assert (await executor.execute(JOB)).verdict is ending
    second = await executor.execute(JOB)
    assert (second.verdict, second.deduplicated) == (Verdict.FINISHED, False)


async def test_reports_are_kept_while_there_is_room():
    """Room for two reports of a hundred bytes of output; the one used last stays."""
    runner = Runner()
    executor = Deduplication(runner, 2_500)
    programs = {name: replace(JOB, program=name) for name in "abc"}
    for name in "abac":
        await executor.execute(programs[name])
    assert (await executor.execute(programs["a"])).deduplicated
    assert not (await executor.execute(programs["b"])).deduplicated


async def test_who_would_be_refused_behind_is_refused_here():
    with pytest.raises(Busy):
        Deduplication(Runner(), MIB).admit("client")
