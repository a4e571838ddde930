"""What became of candidates and tasks on their way: counts for the report, pure functions of what the stages wrote."""

from collections import Counter
from collections.abc import Sequence
from itertools import product

from trainer.ranking import CUT_OFF
from trainer.records import Outcome, RankedTask


def verdict_flow(before: Sequence[Outcome], after: Sequence[Outcome]) -> list[tuple[str, str, int]]:
    """How many held-out tasks went from which verdict to which, most frequent first."""
    earlier = {outcome.candidate.task_id: _verdict(outcome) for outcome in before}
    pairs = Counter((earlier[task], _verdict(outcome)) for outcome in after if (task := outcome.candidate.task_id) in earlier)
    return [(left, right, count) for (left, right), count in pairs.most_common()]


def filters(outcomes: Sequence[Outcome], ranked: Sequence[RankedTask]) -> dict[str, int]:
    """Of a round: what was left out and why, and how pairs of a teacher's and a student's response stood."""
    responses = [response for task in ranked for response in task.responses]
    pairs = [
        (teacher, student)
        for task in ranked
        for teacher, student in product(task.responses, task.responses)
        if teacher.teacher and not student.teacher
    ]
    return {
        "sampled": len(outcomes),
        "cut off": sum(outcome.candidate.truncated for outcome in outcomes),
        "equal to another or to the teacher's": sum(max(0, response.samples - (not response.teacher)) for response in responses),
        "ranked": sum(not response.teacher for response in responses),
        "pairs with a tie": sum(teacher.reward == student.reward for teacher, student in pairs),
        "pairs dropped, the student above": sum(teacher.score <= student.score for teacher, student in pairs),
    }


def _verdict(outcome: Outcome) -> str:
    return CUT_OFF if outcome.candidate.truncated else outcome.verdict
