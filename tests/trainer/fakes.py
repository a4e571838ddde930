"""An executor that runs nothing: verdicts come from a function of the job."""

from collections.abc import AsyncGenerator, AsyncIterable, Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Self

from engine.client import AssertTests, Job, Problem, Report, Trust, Verdict


def passes_gold_only(job: Job) -> Verdict:
    """Gold solutions pass; what a student wrote is wrong where it returns something, else it does not compile."""
    if "/samples/" not in job.id and "/evaluation/" not in job.id:
        return Verdict.PASSED
    return Verdict.WRONG_ANSWER if "return" in str(job.program) else Verdict.COMPILE_ERROR


class FakeExecutor(AbstractAsyncContextManager["FakeExecutor"]):
    """Answers in an order unlike that of the jobs, and remembers the ids. `fail_at`: a word in a job's id at which it breaks."""

    def __init__(
        self, verdict_of: Callable[[Job], Verdict] = passes_gold_only, *, fail_at: str = "", unanswered: str = ""
    ) -> None:
        self.ids: list[str] = []
        self._verdict_of = verdict_of
        self._fail_at = fail_at
        self._unanswered = unanswered

    def connect(self) -> Self:
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None

    async def execute_stream(self, jobs: AsyncIterable[Job]) -> AsyncGenerator[Report, None]:
        reports = []
        async for job in jobs:
            if self._fail_at and self._fail_at in job.id:
                raise KeyboardInterrupt
            self.ids.append(job.id)
            if not (self._unanswered and self._unanswered in job.id):
                reports.append(Report(id=job.id, verdict=self._verdict_of(job), trust=Trust.EXAMINED))
        for report in reversed(reports):
            yield report


def problem(task_id: str, prompt: str = "def solve(x):\n", gold: str | None = "    return x\n") -> Problem:
    """A problem whose tests do not matter."""
    tests = AssertTests(code="def check(candidate): ...", entry_points=("solve",), check="check")
    return Problem(task_id=task_id, prompt=prompt, preamble=prompt, entry_point="solve", gold=gold, tests=tests)
