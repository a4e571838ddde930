"""From verdicts to scores, from scores to ranked responses and pairs: pure functions.

Four levels: compile error < runtime error < wrong answer < passed. A limit that was exceeded has a score of its own. A failure
of the infrastructure, and a candidate that the token limit cut off, have no score: they are left out, never counted as bad. A
teacher's score gets a bonus, so that it ranks above a student with the same verdict.
"""

from collections.abc import Iterable, Sequence

from engine.client import Verdict
from trainer.recipe import Scoring
from trainer.records import Outcome, Pair, RankedResponse, RankedTask

CUT_OFF = "cut_off"
"""In place of the verdict of a candidate that reached the token limit."""
NO_VERDICT = frozenset({Verdict.INFRASTRUCTURE_ERROR, Verdict.CANCELLED, Verdict.NOT_RUN, Verdict.FINISHED})
"""Say nothing about whether a program is right: the engine failed, or there were no tests."""


def score(outcome: Outcome, scoring: Scoring) -> float | None:
    """The score of one candidate, or None where it has none."""
    verdict = Verdict(outcome.verdict)
    if outcome.candidate.truncated or verdict in NO_VERDICT:
        return None
    levels = {
        Verdict.COMPILE_ERROR: scoring.compile_error,
        Verdict.RUNTIME_ERROR: scoring.runtime_error,
        Verdict.WRONG_ANSWER: scoring.wrong_answer,
        Verdict.PASSED: scoring.passed,
    }
    bonus = scoring.teacher_bonus if outcome.candidate.teacher else 0.0
    return levels.get(verdict, scoring.limit) + bonus


def rank(task_id: str, prompt: str, outcomes: Iterable[Outcome], scoring: Scoring) -> RankedTask | None:
    """The comparable responses to one prompt, best first, or None without a teacher's and a student's among them.

    Equal responses are kept once; a student's that equals a teacher's is the teacher's.
    """
    scored = [(value, outcome) for outcome in outcomes if (value := score(outcome, scoring)) is not None]
    if not any(outcome.candidate.teacher for _, outcome in scored) or all(outcome.candidate.teacher for _, outcome in scored):
        return None
    best_first = sorted(scored, key=lambda item: (-item[1].candidate.teacher, -item[0], item[1].candidate.completion))
    distinct: dict[str, RankedResponse] = {}
    for value, outcome in best_first:
        response = RankedResponse(
            completion=outcome.candidate.completion, score=value, verdict=outcome.verdict, teacher=outcome.candidate.teacher
        )
        distinct.setdefault(outcome.candidate.completion, response)
    return RankedTask(task_id=task_id, prompt=prompt, responses=tuple(distinct.values()))


def gold_only(task_id: str, prompt: str, gold: str) -> RankedTask:
    """A task with nothing to compare: what supervised fine-tuning trains on."""
    response = RankedResponse(completion=gold, score=0.0, verdict=Verdict.PASSED.value, teacher=True)
    return RankedTask(task_id=task_id, prompt=prompt, responses=(response,))


def pairs(task: RankedTask) -> list[Pair]:
    """Every teacher's response above a student's; a student's that scores higher drops out with its pair."""
    return [
        Pair(
            task_id=task.task_id,
            teacher=teacher.completion,
            student=student.completion,
            teacher_score=teacher.score,
            student_score=student.score,
        )
        for teacher in task.responses
        for student in task.responses
        if teacher.teacher and not student.teacher and teacher.score > student.score
    ]


def verdict_mix(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """How many candidates met each verdict, those that were cut off apart; most frequent first."""
    names = [CUT_OFF if outcome.candidate.truncated else outcome.verdict for outcome in outcomes]
    return dict(sorted(((name, names.count(name)) for name in set(names)), key=lambda item: (-item[1], item[0])))
