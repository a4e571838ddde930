"""Statistics of paired runs, against tables and cases that are counted by hand."""

import pytest

from benchmarks.learning.paired import compare, holm, mean_interval, within


def seeds(*shares: int) -> list[list[bool]]:
    """Of each seed that many of a hundred tasks solved."""
    return [[task < share for task in range(100)] for share in shares]


@pytest.mark.parametrize(
    ("t", "freedom", "confidence"), [(2.776, 4, 0.95), (12.706, 1, 0.95), (3.169, 10, 0.99), (1.96, 9999, 0.95)]
)
def test_students_t_agrees_with_its_tables(t: float, freedom: int, confidence: float) -> None:
    """Two-sided, to three digits; with great freedom it is the normal distribution."""
    assert within(t, freedom) == pytest.approx(confidence, abs=1e-4)


def test_an_interval_is_the_quantile_times_the_standard_error() -> None:
    """Of 1 to 5: mean 3, standard deviation sqrt 2.5, 4 degrees of freedom."""
    half = 2.7764 * (2.5 / 5) ** 0.5
    assert mean_interval([1, 2, 3, 4, 5]) == pytest.approx((3 - half, 3 + half), rel=1e-4)


def test_the_difference_is_paired_by_seed() -> None:
    """Always 5 points ahead, however the seeds differ among themselves: no doubt is left."""
    found = compare(seeds(15, 45, 75), seeds(10, 40, 70))
    assert found.difference == pytest.approx(0.05)
    assert found.interval == pytest.approx((0.05, 0.05))
    assert found.p_t == pytest.approx(0, abs=1e-6)


def test_the_permutation_test_counts_signs() -> None:
    """Of the 8 ways to flip three differences of one sign, only two are as far from 0."""
    assert compare(seeds(15, 46, 77), seeds(10, 40, 70)).p_permutation == 2 / 8


def test_runs_that_are_alike_are_not_told_apart() -> None:
    """Every p-value is 1 and the interval is 0."""
    found = compare(seeds(10, 40), seeds(10, 40))
    assert (found.difference, found.p_t, found.p_permutation) == (0, 1, 1)
    assert found.bootstrap_interval == (0, 0)


def test_the_bootstrap_knows_of_the_tasks() -> None:
    """Equal differences in every seed leave the doubt of 100 tasks each: 3 * 100 of which 5 in 100 differ."""
    low, high = compare(seeds(15, 45, 75), seeds(10, 40, 70)).bootstrap_interval
    assert low < 0.05 < high
    assert 0.02 < high - low < 0.08


def test_swapped_the_difference_changes_its_sign_alone() -> None:
    """No side is favoured."""
    one, other = seeds(30, 36, 44), seeds(28, 30, 41)
    there, back = compare(one, other), compare(other, one)
    assert there.difference == pytest.approx(-back.difference)
    assert (there.p_t, there.p_permutation) == pytest.approx((back.p_t, back.p_permutation))


def test_several_tests_are_held_to_what_one_is() -> None:
    """Holm's rule: times 3, times 2, times 1, never falling, never above 1."""
    assert holm([0.02, 0.01, 0.9]) == pytest.approx([0.04, 0.03, 0.9])
    assert holm([0.5, 0.4]) == pytest.approx([0.8, 0.8])
