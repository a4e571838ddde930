"""A problem: what a model is asked, what its program must pass, and the jobs made from both.

Two texts come before a completion. `prompt` is what a model reads, `preamble` what the program begins with: a program is
`preamble + completion`. With HumanEval they are the same. With LeetCodeDataset the prompt is the preamble with the statement
below it; a prompt in prose (MBPP, stdin/stdout) is no part of the program, so there the preamble is empty.
"""

from dataclasses import dataclass

from engine.errors import ProblemError
from engine.records import ENGINE_DEFAULTS, Job, Limits, StopRule, Tests


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    task_id: str
    prompt: str
    """What a model is shown: the task, so that a completion can follow. Graders and tests never read it."""
    preamble: str = ""
    """What stands before a completion in a program; nothing of it comes from a model."""
    entry_point: str = ""
    """The function asked for; empty where the problem asks for a whole program."""
    gold: str | None = None
    """A completion that passes, where the problem brings one."""
    tests: Tests

    def job(
        self,
        completion: str,
        *,
        id: str | None = None,  # noqa: A002  # the name of the field it fills
        limits: Limits | None = None,
        stop: StopRule = StopRule.FIRST_FAILURE,
    ) -> Job:
        """The job that grades a completion, which follows the preamble. Its id is the task's where none is given."""
        return self.job_for_program(self.preamble + completion, id=id, limits=limits, stop=stop)

    def job_for_program(
        self,
        program: str,
        *,
        id: str | None = None,  # noqa: A002  # the name of the field it fills
        limits: Limits | None = None,
        stop: StopRule = StopRule.FIRST_FAILURE,
    ) -> Job:
        """The job that grades a whole program."""
        return Job(id=id or self.task_id, program=program, tests=self.tests, limits=limits or ENGINE_DEFAULTS, stop=stop)

    def gold_job(
        self,
        *,
        id: str | None = None,  # noqa: A002  # the name of the field it fills
        limits: Limits | None = None,
        stop: StopRule = StopRule.FIRST_FAILURE,
    ) -> Job:
        """The job that grades the problem's own solution. Raises ProblemError where it has none."""
        if self.gold is None:
            raise ProblemError(f"problem {self.task_id!r} has no solution of its own; grade samples instead")
        return self.job(self.gold, id=id, limits=limits, stop=stop)
