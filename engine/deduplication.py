"""Equal jobs answered by one run, for those who say that theirs may be.

    execute ──> asks for it? ── no ──> run
                    │ yes
                a report kept? ── yes ──> that one, labelled
                    │ no
                an equal job under way? ── yes ──> its report, labelled, once it is there
                    │ no
                   run, and keep the report

Only the client can know that a program does the same each time, so nothing is deduplicated that does not ask. What the
infrastructure did wrong is never kept, and neither is anything of a job that was cancelled or refused: those that waited for
it see to themselves.
"""

import asyncio
from dataclasses import replace

from engine.fingerprint import fingerprint
from engine.recent import Recent
from engine.records import Job, Report, Verdict
from engine.service import Executor

_NOT_THE_PROGRAMS_DOING = frozenset({Verdict.INFRASTRUCTURE_ERROR, Verdict.CANCELLED})
_RECORD_BYTES = 1_000
"""About what a report takes without its outputs; a test's result takes a fifth of it."""


class Deduplication:
    """An executor in front of another one; keeps up to `room_bytes` of reports."""

    def __init__(self, executor: Executor, room_bytes: int) -> None:
        self._executor = executor
        self._reports: Recent[str, Report] = Recent(room_bytes)
        self._under_way: dict[str, asyncio.Future[Report | None]] = {}

    def admit(self, client: str) -> None:
        """As the executor behind."""
        self._executor.admit(client)

    async def execute(self, job: Job, client: str = "") -> Report:
        """As the executor behind."""
        if not job.deduplicate:
            return await self._executor.execute(job, client)
        key = fingerprint(replace(job, id="", queue_time_ms=0))
        while True:
            if (report := self._reports.get(key)) is not None:
                return _for_another(report, job)
            if (under_way := self._under_way.get(key)) is None:
                return await self._run(key, job, client)
            if (report := await asyncio.shield(under_way)) is not None:
                return _for_another(report, job)

    async def _run(self, key: str, job: Job, client: str) -> Report:
        under_way = self._under_way[key] = asyncio.get_running_loop().create_future()
        found: Report | None = None
        try:
            report = await self._executor.execute(job, client)
            if report.verdict not in _NOT_THE_PROGRAMS_DOING:
                found = report
                self._reports.keep(key, report, _size_bytes(report))
            return report
        finally:
            del self._under_way[key]
            under_way.set_result(found)


def _for_another(report: Report, job: Job) -> Report:
    return replace(report, id=job.id, queue_time_ms=0.0, deduplicated=True)


def _size_bytes(report: Report) -> int:
    messages = sum(len(test.message) for test in report.tests)
    outputs = len(report.stdout) + len(report.stderr) + len(report.error)
    return _RECORD_BYTES + outputs + messages + len(report.tests) * _RECORD_BYTES // 5
