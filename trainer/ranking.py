"""From verdicts to scores, from scores to ranked responses and pairs: pure functions.

Four levels: compile error < runtime error < wrong answer < passed. A limit that was exceeded has a score of its own. A failure
of the infrastructure, and a candidate that the token limit cut off, have no score: they are left out, never counted as bad. A
teacher's score gets a bonus, so that it ranks above a student with the same verdict. Among students with the same verdict the
teacher model's opinion decides, where there is one: it moves them apart, by less than what lies between two verdicts.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from engine.client import Trust, Verdict
from trainer.recipe import Scoring
from trainer.records import Outcome, Pair, RankedResponse, RankedTask

CUT_OFF = "cut_off"
"""In place of the verdict of a candidate that reached the token limit."""
NO_VERDICT = frozenset({Verdict.INFRASTRUCTURE_ERROR, Verdict.CANCELLED, Verdict.NOT_RUN, Verdict.FINISHED})
"""Say nothing about whether a program is right: the engine failed, or there were no tests."""


def reward(outcome: Outcome, scoring: Scoring) -> float | None:
    """What one candidate is worth by its verdict, or None where that says nothing."""
    verdict = Verdict(outcome.verdict)
    if outcome.candidate.truncated or verdict in NO_VERDICT:
        return None
    if _has_a_say(outcome) and not scoring.delegated_passes:
        return None
    levels = {
        Verdict.COMPILE_ERROR: scoring.compile_error,
        Verdict.RUNTIME_ERROR: scoring.runtime_error,
        Verdict.WRONG_ANSWER: scoring.wrong_answer,
        Verdict.PASSED: scoring.passed,
    }
    return levels.get(verdict, scoring.limit)


def _has_a_say(outcome: Outcome) -> bool:
    """Whether objects of a student's program took part in deciding that it passes."""
    is_delegated = outcome.trust == Trust.EXAMINED_DELEGATED.value and outcome.verdict == Verdict.PASSED.value
    return is_delegated and not outcome.candidate.teacher


def score(outcome: Outcome, scoring: Scoring) -> float | None:
    """What ranks one candidate: its reward, with a teacher's bonus or a teacher model's opinion on top. None without a reward."""
    value = reward(outcome, scoring)
    if value is None:
        return None
    if outcome.candidate.teacher:
        return value + scoring.teacher_bonus
    return value + opinion(outcome.teacher_score, scoring.teacher_weight)


def opinion(teacher_score: float | None, weight: float) -> float:
    """What a teacher's score from 0 to 1 adds: half the weight at most, up or down. No score is no opinion, and adds nothing."""
    return 0.0 if teacher_score is None else weight * (teacher_score - 0.5)


def rank(task_id: str, prompt: str, outcomes: Iterable[Outcome], scoring: Scoring) -> RankedTask | None:
    """The comparable responses to one prompt, best first, or None without a teacher's and a student's among them.

    Equal responses are kept once; a student's that equals a teacher's is the teacher's.
    """
    rewarded = [(value, outcome) for outcome in outcomes if (value := reward(outcome, scoring)) is not None]
    if len({outcome.candidate.teacher for _, outcome in rewarded}) < 2:
        return None
    samples = Counter(outcome.candidate.completion for _, outcome in rewarded if not outcome.candidate.teacher)
    ranked = sorted(
        ((score(outcome, scoring) or 0.0, value, outcome) for value, outcome in rewarded),
        key=lambda item: (-item[2].candidate.teacher, -item[0], item[2].candidate.completion),
    )
    distinct: dict[str, RankedResponse] = {}
    for total, value, outcome in ranked:
        completion, teacher = outcome.candidate.completion, outcome.candidate.teacher
        response = RankedResponse(
            completion=completion,
            score=total,
            reward=value,
            verdict=outcome.verdict,
            passed=outcome.verdict == Verdict.PASSED.value,
            teacher=teacher,
            samples=samples[completion],
        )
        distinct.setdefault(completion, response)
    return RankedTask(task_id=task_id, prompt=prompt, responses=tuple(distinct.values()))


def gold_only(task_id: str, prompt: str, gold: str) -> RankedTask:
    """A task with nothing to compare: what supervised fine-tuning trains on."""
    response = RankedResponse(
        completion=gold, score=0.0, reward=0.0, verdict=Verdict.PASSED.value, passed=True, teacher=True, samples=0
    )
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
