"""pass@k."""

from math import comb

import pytest

from tests.trainer.small import outcome
from trainer.evaluation import left_out, mean_pass_at_k, pass_at_k


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
