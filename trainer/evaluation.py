"""pass@k from outcomes."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from math import comb

from engine.client import Verdict
from trainer.ranking import NO_VERDICT
from trainer.records import Outcome


def pass_at_k(samples: int, passed: int, k: int) -> float:
    """Unbiased estimate of the chance that one of k samples passes, from n of which c passed: 1 - C(n-c, k) / C(n, k).

    Source: Chen et al., "Evaluating Large Language Models Trained on Code", arXiv 2107.03374, equation 1.
    """
    if not 1 <= k <= samples:
        raise ValueError(f"pass@{k} needs at least {k} samples, not {samples}")
    return 1.0 - comb(samples - passed, k) / comb(samples, k)


def mean_pass_at_k(outcomes: Iterable[Outcome], k: int) -> float:
    """Mean of pass@k over the tasks that count for it; 0.0 where none does."""
    values = [pass_at_k(len(passed), sum(passed), k) for passed in _that_count(outcomes, k)]
    return sum(values) / len(values) if values else 0.0


def tasks_that_count(outcomes: Iterable[Outcome], k: int) -> int:
    """How many tasks have k outcomes that say something about their program."""
    return len(_that_count(outcomes, k))


def _that_count(outcomes: Iterable[Outcome], k: int) -> list[list[bool]]:
    """Of each of these tasks, which of its outcomes passed. Outcomes that say nothing about the program are left out."""
    by_task: dict[str, list[bool]] = defaultdict(list)
    for outcome in outcomes:
        if Verdict(outcome.verdict) not in NO_VERDICT:
            by_task[outcome.candidate.task_id].append(outcome.verdict == Verdict.PASSED.value)
    return [passed for passed in by_task.values() if len(passed) >= k]


def left_out(outcomes: Sequence[Outcome]) -> int:
    """How many outcomes say nothing about their program."""
    return sum(Verdict(outcome.verdict) in NO_VERDICT for outcome in outcomes)
