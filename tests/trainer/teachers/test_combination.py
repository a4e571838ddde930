"""Test scores and teacher scores together: the verdict first, the teacher's opinion among equals."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.small import outcome
from trainer.errors import RecipeError
from trainer.ranking import opinion, pairs, rank, score
from trainer.recipe import Scoring
from trainer.recipe_file import load

SCORING = Scoring()
LEVELS = ("compile_error", "runtime_error", "wrong_answer", "passed")
GOLD = outcome("gold", "passed", teacher=True)
scores = st.none() | st.floats(0, 1)


def total(verdict: str, teacher_score: float | None) -> float:
    found = score(outcome("x", verdict, teacher_score=teacher_score), SCORING)
    assert found is not None
    return found


@pytest.mark.parametrize(("lower", "higher"), list(pairwise(LEVELS)))
@given(of_lower=scores, of_higher=scores)
def test_no_opinion_lifts_a_program_above_a_better_verdict(
    lower: str, higher: str, of_lower: float | None, of_higher: float | None
) -> None:
    """Level first, whatever the teacher says of either."""
    assert total(lower, of_lower) < total(higher, of_higher)


@pytest.mark.parametrize("verdict", LEVELS)
def test_among_equal_verdicts_the_opinion_decides(verdict: str) -> None:
    """And no opinion lies between a bad one and a good one."""
    assert total(verdict, 0.2) < total(verdict, None) < total(verdict, 0.9)


def test_an_opinion_adds_half_the_weight_at_most() -> None:
    """Up and down alike."""
    assert [opinion(value, 0.1) for value in (0.0, 0.5, 1.0, None)] == pytest.approx([-0.05, 0.0, 0.05, 0.0])


@given(of_student=scores)
def test_in_a_tie_the_teacher_ranks_higher_whatever_the_opinion(of_student: float | None) -> None:
    """A student that passes is a pair below the gold solution."""
    ranked = rank("task", "", [GOLD, outcome("x", "passed", teacher_score=of_student)], SCORING)
    assert ranked is not None
    assert len(pairs(ranked)) == 1


def test_a_missing_score_changes_nothing() -> None:
    """A judge that failed leaves the candidate where its tests put it."""
    assert score(outcome("x", "passed", teacher_score=None), SCORING) == SCORING.passed


def test_an_opinion_never_makes_a_score_of_none() -> None:
    """What the tests cannot compare, the teacher cannot either."""
    assert score(outcome("x", "infrastructure_error", teacher_score=1.0), SCORING) is None
    assert score(outcome("x", "passed", teacher_score=1.0, truncated=True), SCORING) is None


def test_students_are_ranked_by_opinion_and_rewarded_by_tests() -> None:
    """Objectives that count rewards see the verdict alone."""
    ranked = rank("task", "", [GOLD, *(outcome(f"x{s}", "passed", teacher_score=s) for s in (0.1, 0.9, 0.5))], SCORING)
    assert ranked is not None
    assert [response.completion for response in ranked.responses] == ["gold", "x0.9", "x0.5", "x0.1"]
    assert {response.reward for response in ranked.responses} == {SCORING.passed}


@pytest.mark.parametrize("override", ["scoring.teacher_weight=0.3", "scoring.limit=-0.55", "scoring.teacher_bonus=0.05"])
def test_a_weight_that_could_outweigh_a_verdict_is_refused(override: str) -> None:
    """One line; only where there are teacher scores."""
    with pytest.raises(RecipeError, match=r"scoring\.teacher_weight is .* must be less than the"):
        load(None, ["teacher.score=likelihood", "teacher.path=teacher", override])
    load(None, [override])


@pytest.mark.parametrize(
    "overrides", [["scoring.teacher_bonus=0.3"], ["teacher.score=likelihood", "scoring.teacher_weight=0.29"]]
)
def test_a_bonus_that_could_outweigh_a_verdict_is_refused(overrides: list[str]) -> None:
    """Only where a model teaches: gold solutions have the best verdict anyway."""
    with pytest.raises(RecipeError, match=r"scoring\.teacher_bonus is .* must be less than the"):
        load(None, ["teacher.sampler=transformers", "teacher.path=teacher", *overrides])
    load(None, ["scoring.teacher_bonus=0.3"])


@pytest.mark.parametrize(
    ("overrides", "wanted"),
    [
        (["teacher.sampler=vllm"], "the teacher model is missing: set teacher.path"),
        (["teacher.score=likelihood"], "the teacher model is missing: set teacher.path"),
        (["teacher.sampler=openai"], "the teacher's server is missing: set teacher.addresses"),
        (["teacher.score=judge"], "the teacher's server is missing: set teacher.addresses"),
        (["teacher.gold=false"], "nobody teaches"),
        (["teacher.rubric='{worst}'"], "a rubric may name {lowest} and {highest}"),
    ],
)
def test_a_teacher_that_is_not_there_is_named(overrides: list[str], wanted: str) -> None:
    """Before anything begins."""
    with pytest.raises(RecipeError) as caught:
        load(None, overrides)
    assert wanted in str(caught.value)
