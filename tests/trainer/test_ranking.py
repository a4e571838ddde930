"""Scores, ranked responses and pairs."""

import random
from dataclasses import replace

import pytest

from engine.client import Trust, Verdict
from tests.trainer.small import outcome
from trainer.ranking import pairs, rank, score, verdict_mix
from trainer.recipe import Scoring

SCORING = Scoring()
GOLD = outcome("gold", "passed", teacher=True)


def test_the_four_levels_ascend() -> None:
    """Compile error < runtime error < wrong answer < passed."""
    verdicts = ("compile_error", "runtime_error", "wrong_answer", "passed")
    assert [score(outcome("x", verdict), SCORING) for verdict in verdicts] == [-1.0, -0.6, -0.3, 1.0]


@pytest.mark.parametrize("verdict", [verdict for verdict in Verdict if verdict.value.endswith("_limit")])
def test_a_limit_scores_as_the_recipe_says(verdict: Verdict) -> None:
    """Wherever a time-out sits, it is a setting."""
    assert score(outcome("x", verdict.value), Scoring(limit=-0.5)) == -0.5


@pytest.mark.parametrize("verdict", ["infrastructure_error", "cancelled", "not_run"])
def test_a_failure_of_the_infrastructure_is_never_a_score(verdict: str) -> None:
    """It says nothing about the program, so it takes part in no pair."""
    assert score(outcome("x", verdict), SCORING) is None
    assert rank("task", "", [GOLD, outcome("x", verdict)], SCORING) is None


def test_a_candidate_that_was_cut_off_is_not_ranked() -> None:
    """Whatever its verdict."""
    ranked = rank("task", "", [GOLD, outcome("x", "wrong_answer", truncated=True), outcome("y", "wrong_answer")], SCORING)
    assert ranked is not None
    assert [response.completion for response in ranked.responses] == ["gold", "y"]


def test_a_pass_in_which_the_program_has_a_say_is_left_out_unless_the_recipe_lets_it_count() -> None:
    """A teacher is believed, and a failure is one whoever compared."""
    strict, lenient, delegated = Scoring(), Scoring(delegated_passes=True), Trust.EXAMINED_DELEGATED.value
    student, teacher = (replace(found, trust=delegated) for found in (outcome("x", "passed"), GOLD))
    failed = replace(outcome("y", "wrong_answer"), trust=delegated)
    assert (score(student, lenient), score(student, strict)) == (SCORING.passed, None)
    assert score(teacher, strict) == SCORING.passed + SCORING.teacher_bonus
    assert score(failed, strict) == SCORING.wrong_answer


def test_in_a_tie_the_teacher_ranks_higher() -> None:
    """A student that passes as well is a pair with the bonus as its margin."""
    ranked = rank("task", "", [outcome("x", "passed"), GOLD], SCORING)
    assert ranked is not None
    [pair] = pairs(ranked)
    assert (pair.teacher, pair.student) == ("gold", "x")
    assert pair.teacher_score - pair.student_score == pytest.approx(SCORING.teacher_bonus)


def test_a_teacher_below_its_student_makes_no_pair() -> None:
    """A teacher's answer that fails is not held up against a student's that passes."""
    ranked = rank("task", "", [outcome("bad", "runtime_error", teacher=True), outcome("x", "passed")], SCORING)
    assert ranked is not None
    assert pairs(ranked) == []


def test_equal_responses_are_kept_once() -> None:
    """And a student's that equals the teacher's is the teacher's."""
    ranked = rank("task", "", [GOLD, *[outcome(text, "passed") for text in ("x", "x", "gold")]], SCORING)
    assert ranked is not None
    assert [(response.completion, response.teacher) for response in ranked.responses] == [("gold", True), ("x", False)]


def test_equal_samples_are_counted() -> None:
    """The teacher's own outcome is no sample; a student's that equals it is one."""
    ranked = rank("task", "", [GOLD, *[outcome(text, "passed") for text in ("x", "x", "gold")]], SCORING)
    assert ranked is not None
    assert [(response.completion, response.samples) for response in ranked.responses] == [("gold", 1), ("x", 2)]


def test_a_reward_knows_no_bonus() -> None:
    """What a student gets for a program does not depend on whether a teacher wrote it as well."""
    ranked = rank("task", "", [GOLD, outcome("x", "passed"), outcome("y", "wrong_answer")], SCORING)
    assert ranked is not None
    assert [(response.reward, response.passed) for response in ranked.responses] == [(1.0, True), (1.0, True), (-0.3, False)]


def test_the_order_of_outcomes_changes_nothing() -> None:
    """Reports come in any order."""
    outcomes = [GOLD, outcome("a", "wrong_answer"), outcome("b", "passed"), outcome("c", "compile_error")]
    shuffled = random.Random(3).sample(outcomes, len(outcomes))
    assert rank("task", "", outcomes, SCORING) == rank("task", "", shuffled, SCORING)


def test_a_task_without_a_teacher_is_left_out() -> None:
    """There is nothing to rank its candidates against."""
    assert rank("task", "", [outcome("x", "passed")], SCORING) is None


def test_candidates_that_were_cut_off_are_counted_apart() -> None:
    """The verdict mix says so instead of calling them wrong."""
    outcomes = [outcome("x", "passed"), outcome("y", "compile_error", truncated=True)]
    assert verdict_mix(outcomes) == {"cut_off": 1, "passed": 1}
