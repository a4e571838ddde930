"""pass@k."""

from math import comb

import pytest

from tests.trainer.small import outcome
from trainer.evaluation import left_out, mean_pass_at_k, pass_at_k, tasks_that_count


@pytest.mark.parametrize(("samples", "passed", "k"), [(10, 0, 1), (10, 3, 1), (10, 3, 5), (10, 9, 5), (10, 10, 10)])
def test_pass_at_k_is_the_unbiased_estimate(samples: int, passed: int, k: int) -> None:
    """1 - C(n-c, k) / C(n, k)."""
    assert pass_at_k(samples, passed, k) == pytest.approx(1 - comb(samples - passed, k) / comb(samples, k))


def test_more_samples_than_there_are_is_an_error() -> None:
    """No estimate is made up."""
    with pytest.raises(ValueError, match="needs at least 5 samples"):
        pass_at_k(4, 1, 5)


def test_tasks_count_alike_whatever_their_number_of_samples() -> None:
    """The mean goes over tasks."""
    outcomes = [outcome("x", "passed", task_id="a"), *[outcome(t, "wrong_answer", task_id="b") for t in "xyz"]]
    assert mean_pass_at_k(outcomes, 1) == 0.5


def test_what_the_infrastructure_lost_is_neither_a_pass_nor_a_failure() -> None:
    """It is left out and counted."""
    outcomes = [outcome("x", "passed", task_id="a"), outcome("y", "infrastructure_error", task_id="b")]
    assert mean_pass_at_k(outcomes, 1) == 1.0
    assert left_out(outcomes) == 1


def test_a_task_with_too_few_verdicts_does_not_count() -> None:
    """For pass@2 it needs two; how many do is known."""
    outcomes = [outcome(t, v, task_id=t[0]) for t, v in (("a1", "passed"), ("a2", "passed"), ("b1", "wrong_answer"))]
    outcomes.append(outcome("b2", "infrastructure_error", task_id="b"))
    assert (mean_pass_at_k(outcomes, 2), tasks_that_count(outcomes, 2), tasks_that_count(outcomes, 1)) == (1.0, 1, 2)
