"""The controls of RRTF: losses and gradients computed by hand."""

from math import exp, log, sqrt

import pytest

from tests.trainer.small_batch import batch_of, student, teacher, value_and_gradients
from trainer.objectives.chosen import loss_of
from trainer.objectives.settings import Dpo, Grpo, Objective, Raft, Rloo, Rrhf, Sft, Ssd

ONE_OF_EACH = (teacher(-2.0, -2.0), student(-1.0, -1.0, -1.0, reward=1.0), student(-0.5, reward=-1.0))


def metrics(objective: Objective, *prompts: tuple[object, ...]) -> dict[str, float]:
    return loss_of(objective)(batch_of(*prompts))[1]  # type: ignore[arg-type]  # prompts of made responses


def test_sft_is_the_teachers_loss() -> None:
    """4 nats over 2 tokens; the students count for nothing."""
    value, gradients_PR = value_and_gradients(loss_of(Sft()), batch_of(ONE_OF_EACH))
    assert value == pytest.approx(2.0)
    assert gradients_PR.tolist() == [[-1 / 2, 0, 0]]


def test_sft_imitates_no_teacher_whom_a_student_outscores() -> None:
    """The tests say that it does not know."""
    value, _ = value_and_gradients(loss_of(Sft()), batch_of((teacher(-2.0, reward=-0.8), student(-1.0, reward=1.0))))
    assert value == 0


def test_raft_imitates_the_best_samples_as_often_as_they_were_drawn() -> None:
    """One passing response was drawn twice, another once; neither the failing one nor the teacher's is imitated."""
    prompt = (
        teacher(-9.0),
        student(-2.0, reward=1.0, samples=2),
        student(-3.0, -5.0, reward=1.0),
        student(-0.1, reward=-0.3, samples=5),
    )
    value, gradients_PR = value_and_gradients(loss_of(Raft()), batch_of(prompt))
    assert value == pytest.approx((2 * 2.0 + 4.0) / 3)
    assert gradients_PR.flatten().tolist() == pytest.approx([0, -2 / 3, -1 / 6, 0])


@pytest.mark.parametrize(("passed_only", "wanted"), [(True, 0.0), (False, 2.0)])
def test_raft_learns_from_a_failure_only_where_it_is_asked_to(passed_only: bool, wanted: float) -> None:
    """The best of two failing samples is the one that ran to its end."""
    prompt = (teacher(-9.0), student(-2.0, reward=-0.3), student(-1.0, reward=-1.0))
    assert value_and_gradients(loss_of(Raft(passed_only=passed_only)), batch_of(prompt))[0] == pytest.approx(wanted)


def test_raft_imitates_what_the_student_found_also_where_it_is_the_teachers() -> None:
    """A sample that equals the teacher's response is the student's own."""
    prompt = (teacher(-2.0, samples=1), student(-1.0, reward=-1.0))
    assert value_and_gradients(loss_of(Raft()), batch_of(prompt))[0] == pytest.approx(2.0)


def test_ssd_imitates_every_sample_whatever_its_verdict() -> None:
    """Two draws of 2 nats a token, one of 1; the teacher's counts only where the student drew it."""
    prompt = (teacher(-9.0), student(-2.0, reward=1.0, samples=2), student(-0.5, -1.5, reward=-1.0))
    value, gradients_PR = value_and_gradients(loss_of(Ssd()), batch_of(prompt))
    assert value == pytest.approx((2 * 2.0 + 1.0) / 3)
    assert gradients_PR.flatten().tolist() == pytest.approx([0, -2 / 3, -1 / 6])


def test_rrhf_sums_over_all_pairs_alike() -> None:
    """p is -2, -1 and -0.5 from best to worst: gaps of 1, 1.5 and 0.5, and 4 nats of fine-tuning on the best."""
    paper = Rrhf(rank_weight=1.0, ft_reduction="sum", pair_reduction="sum")
    value, gradients_PR = value_and_gradients(loss_of(paper), batch_of(ONE_OF_EACH))
    assert value == pytest.approx(1.0 + 1.5 + 0.5 + 4.0)
    assert gradients_PR.flatten().tolist() == pytest.approx([-2 / 2 - 1, (1 - 1) / 3, 2.0])
    assert metrics(paper, ONE_OF_EACH) == pytest.approx({"rank": 3.0, "ft": 4.0, "pairs": 3, "active_pairs": 3})


def test_dpo_compares_the_leads_of_policy_and_reference() -> None:
    """Log ratios of 2 and 1, so a lead of 1, at a beta of a half."""
    prompt = (teacher(-2.0, -2.0, reference=(-3.0, -3.0)), student(-1.0, reward=-1.0, reference=(-2.0,)))
    value, gradients_PR = value_and_gradients(loss_of(Dpo(beta=0.5)), batch_of(prompt))
    assert value == pytest.approx(log(1 + exp(-0.5)))
    pull = 0.5 / (1 + exp(0.5))
    assert gradients_PR.flatten().tolist() == pytest.approx([-pull, pull])


def test_dpo_starts_at_log_two() -> None:
    """Where the policy is the reference no pair leads, however likely its responses are."""
    assert value_and_gradients(loss_of(Dpo()), batch_of(ONE_OF_EACH))[0] == pytest.approx(log(2))


def test_dpo_can_fine_tune_on_the_best_as_well() -> None:
    """A weight of 3 on 2 nats a token."""
    assert value_and_gradients(loss_of(Dpo(ft_weight=3.0)), batch_of(ONE_OF_EACH))[0] == pytest.approx(log(2) + 6.0)


def test_grpo_pulls_by_standardised_rewards() -> None:
    """Rewards 1 and -1 deviate by 1 each and have a standard deviation of sqrt 2; 2 tokens and 1, a group of 2."""
    prompt = (teacher(-9.0), student(-1.0, -2.0, reward=1.0), student(-3.0, reward=-1.0))
    value, gradients_PR = value_and_gradients(loss_of(Grpo()), batch_of(prompt))
    advantage = 1 / (sqrt(2) + 1e-4)
    assert value == pytest.approx(0.0)
    assert gradients_PR.flatten().tolist() == pytest.approx([0, -advantage / 4, advantage / 2])


def test_grpo_counts_a_response_as_often_as_it_was_drawn() -> None:
    """Rewards 1, 1 and -1: mean 1/3, standard deviation sqrt(4/3)."""
    prompt = (teacher(-9.0), student(-1.0, reward=1.0, samples=2), student(-3.0, reward=-1.0))
    _, gradients_PR = value_and_gradients(loss_of(Grpo()), batch_of(prompt))
    deviation = sqrt(4 / 3) + 1e-4
    assert gradients_PR.flatten().tolist() == pytest.approx([0, -(2 / 3) * 2 / 3 / deviation, 4 / 3 / 3 / deviation])


def test_grpo_clips_token_by_token() -> None:
    """The first token's ratio is 2: it is worth 1.2 and pulls no more; the second pulls on."""
    prompt = (student(-1.0, -1.0, reward=1.0, reference=(-1.0 - log(2), -1.0)), student(-3.0, reward=-1.0))
    batch = batch_of(prompt)
    value, _ = value_and_gradients(loss_of(Grpo(kl_weight=0.0)), batch)
    advantage = 1 / (sqrt(2) + 1e-4)
    assert value == pytest.approx(-((1.2 + 1) / 2 - 1) * advantage / 2)
    assert batch.token_logps_PRS.grad is not None
    assert batch.token_logps_PRS.grad[0, 0].tolist() == pytest.approx([0, -advantage / 4])
    assert metrics(Grpo(), prompt)["clipped_share"] == pytest.approx(1 / 3)


def test_grpo_holds_on_to_the_reference() -> None:
    """pi_ref/pi - log pi_ref/pi - 1 is 1/2 + log 2 - 1 where the probability doubled, in one of two responses."""
    prompt = (student(-1.0, reward=1.0, reference=(-1.0 - log(2),)), student(-3.0, reward=1.0))
    value, _ = value_and_gradients(loss_of(Grpo(kl_weight=3.0)), batch_of(prompt))
    assert value == pytest.approx(3.0 * (log(2) - 0.5) / 2)


def test_rloo_takes_the_others_as_the_baseline() -> None:
    """Rewards 1, -1 and -0.3 lead the mean of the others by 1.65, -1.35 and -0.3."""
    prompt = (teacher(-9.0), student(-1.0, -2.0, reward=1.0), student(-3.0, reward=-1.0), student(-2.0, reward=-0.3))
    value, gradients_PR = value_and_gradients(loss_of(Rloo()), batch_of(prompt))
    assert value == pytest.approx(0.0)
    assert gradients_PR.flatten().tolist() == pytest.approx([0, -1.65 / 3, 1.35 / 3, 0.3 / 3])


def test_rloo_counts_a_response_as_often_as_it_was_drawn() -> None:
    """Rewards 1, 1 and -1: each 1 leads by 1, the -1 by -2."""
    prompt = (student(-1.0, reward=1.0, samples=2), student(-3.0, reward=-1.0))
    _, gradients_PR = value_and_gradients(loss_of(Rloo()), batch_of(prompt))
    assert gradients_PR.flatten().tolist() == pytest.approx([-2 / 3, 2 / 3])


def test_rloo_clips_whole_responses() -> None:
    """Two tokens that each grew by a half are a ratio of e, worth 1.2."""
    prompt = (student(-1.0, -1.0, reward=1.0, reference=(-1.5, -1.5)), student(-3.0, reward=-1.0))
    value, gradients_PR = value_and_gradients(loss_of(Rloo()), batch_of(prompt))
    assert value == pytest.approx(-(1.2 * 2 - 2) / 2)
    assert gradients_PR.flatten().tolist() == pytest.approx([0, 1.0])


@pytest.mark.parametrize("objective", [Grpo(), Rloo()])
@pytest.mark.parametrize("students", [[1.0, 1.0], [-0.3]])
def test_a_group_without_a_difference_teaches_nothing(objective: Objective, students: list[float]) -> None:
    """Equal rewards, or nobody to compare with."""
    prompt = (teacher(-9.0), *(student(-1.0 - n, reward=reward) for n, reward in enumerate(students)))
    _, gradients_PR = value_and_gradients(loss_of(objective), batch_of(prompt))
    assert gradients_PR.abs().sum() == 0
    assert metrics(objective, prompt)["groups"] == 0


@pytest.mark.parametrize("objective", [Grpo(teacher_in_group=True), Rloo(teacher_in_group=True)])
def test_a_teacher_in_the_group_is_something_to_compare_with(objective: Objective) -> None:
    """It pulls up and the lone failing student down."""
    _, gradients_PR = value_and_gradients(loss_of(objective), batch_of((teacher(-2.0), student(-1.0, reward=-0.3))))
    assert gradients_PR[0, 0] < 0 < gradients_PR[0, 1]


@pytest.mark.parametrize("objective", [Grpo(), Rloo()])
def test_a_ratio_without_bounds_stays_a_number(objective: Objective) -> None:
    """A response that became e^300 times as likely, without an advantage."""
    prompt = (student(-1.0, reward=1.0, reference=(-301.0,)), student(-2.0, reward=1.0))
    value, gradients_PR = value_and_gradients(loss_of(objective), batch_of(prompt))
    assert abs(value) < float("inf")
    assert gradients_PR.isfinite().all()
