"""RRTF: losses computed by hand, the paper's rules, and the extensions. What holds for every objective is in test_objectives."""

from math import exp, log
from typing import Any

import pytest
import torch

from trainer.objectives.pairs import RankingLoss
from trainer.objectives.rrtf import rrtf_loss

PAPER: dict[str, Any] = {"rank_weight": 1.0, "ft_reduction": "sum", "pair_reduction": "sum"}


def batch(sums: list[list[float]], lengths: list[list[float]], scores: list[list[float]], *, teachers: int = 1) -> dict[str, Any]:
    """A full batch whose first `teachers` columns are teachers."""
    sums_PR = torch.tensor(sums, dtype=torch.float64)
    is_teacher_PR = torch.zeros_like(sums_PR, dtype=torch.bool)
    is_teacher_PR[:, :teachers] = True
    return {
        "logp_sums_PR": sums_PR,
        "lengths_PR": torch.tensor(lengths, dtype=torch.float64),
        "scores_PR": torch.tensor(scores, dtype=torch.float64),
        "is_teacher_PR": is_teacher_PR,
        "is_present_PR": torch.ones_like(is_teacher_PR),
    }


def loss(inputs: dict[str, Any], **changes: Any) -> RankingLoss:
    return rrtf_loss(**inputs, **{**PAPER, **changes})


def test_the_loss_equals_a_value_computed_by_hand() -> None:
    """Teacher -8 over 4 tokens, students -3 over 3 and -10 over 2: only the first is likelier than the teacher."""
    result = loss(batch([[-8.0, -3.0, -10.0]], [[4, 3, 2]], [[1.2, -0.3, -1.0]]))
    assert result.rank.item() == pytest.approx((1.2 - -0.3) * (-1.0 - -2.0))
    assert result.ft.item() == pytest.approx(8.0)
    assert result.total.item() == pytest.approx(1.5 + 8.0)
    assert (result.pairs, result.active_pairs) == (2, 1)


def test_the_rank_weight_scales_the_ranking_alone() -> None:
    """Half the weight takes half of L_rank away and leaves L_ft."""
    inputs = batch([[-8.0, -3.0]], [[4, 3]], [[1.2, -0.3]])
    assert loss(inputs, rank_weight=0.5).total.item() == pytest.approx(0.75 + 8.0)


def test_mean_reduction_of_fine_tuning_divides_by_the_teachers_own_length() -> None:
    """8 nats over 4 tokens are 2 a token, whatever the lengths beside it."""
    assert loss(batch([[-8.0, -3.0]], [[4, 30]], [[1.2, -0.3]]), ft_reduction="mean").ft.item() == pytest.approx(2.0)


def test_mean_reduction_of_pairs_divides_by_the_pairs_of_the_task() -> None:
    """Two pairs, one active: half of the sum."""
    inputs = batch([[-8.0, -3.0, -10.0]], [[4, 3, 2]], [[1.2, -0.3, -1.0]])
    assert loss(inputs, pair_reduction="mean").rank.item() == pytest.approx(0.75)


def test_a_tie_without_a_bonus_has_no_ranking_gradient() -> None:
    """r_tea - r_stu = 0: which is why the bonus of teachers is above 0."""
    inputs = batch([[-8.0, -3.0]], [[4, 3]], [[1.0, 1.0]])
    assert loss(inputs).pairs == 0
    assert loss(inputs).rank.item() == 0


def test_a_tie_with_the_bonus_pulls_by_the_bonus() -> None:
    """The weight of the pair is the bonus itself."""
    assert loss(batch([[-8.0, -3.0]], [[4, 3]], [[1.2, 1.0]])).rank.item() == pytest.approx(0.2 * 1.0)


def test_a_pair_whose_student_scores_higher_drops_out() -> None:
    """The student is likelier and better: nothing pulls it down, and nothing makes the worse one likelier."""
    result = loss(batch([[-8.0, -3.0]], [[4, 3]], [[-0.1, 1.0]]))
    assert (result.rank.item(), result.ft.item()) == (0, 0)


def test_of_two_teachers_the_one_that_fails_is_not_imitated() -> None:
    """Though it is held up against a student that fares worse still."""
    result = loss(batch([[-8.0, -6.0, -3.0]], [[4, 3, 3]], [[1.2, -0.3, -1.0]], teachers=2))
    assert result.ft.item() == pytest.approx(8.0)
    assert result.pairs == 2


def test_students_are_not_compared_with_one_another_unless_asked_for() -> None:
    """The paper has teacher and student pairs only; else the better student is held up against the worse."""
    inputs = batch([[-1.0, -8.0, -3.0]], [[1, 4, 3]], [[1.2, 1.0, -1.0]])
    assert (loss(inputs).pairs, loss(inputs).rank.item()) == (2, 0)
    everyone = loss(inputs, compared="all")
    assert everyone.pairs == 3
    assert everyone.rank.item() == pytest.approx((1.0 - -1.0) * (-1.0 - -2.0))


def test_a_margin_asks_for_a_lead() -> None:
    """The teacher leads by 0.2 nats a token and should by 0.5."""
    inputs = batch([[-4.0, -3.6]], [[4, 3]], [[1.2, -0.3]])
    assert loss(inputs).rank.item() == 0
    assert loss(inputs, margin=0.5).rank.item() == pytest.approx(1.5 * 0.3)
    assert loss(inputs, margin=0.5).active_pairs == 1


def test_listwise_is_the_chance_of_the_teacher_among_all_that_are_worse() -> None:
    """p is -2, -1 and -5; the third scores like the first and does not compete."""
    inputs = batch([[-8.0, -3.0, -10.0]], [[4, 3, 2]], [[1.2, -0.3, 1.2]])
    assert loss(inputs, form="listwise").rank.item() == pytest.approx(log(1 + exp(-1.0 - -2.0)))


def test_listwise_over_all_ranks_the_rest_as_well() -> None:
    """First against both others, then the second against the third: the model of Plackett and Luce."""
    inputs = batch([[-8.0, -3.0, -10.0]], [[4, 3, 2]], [[1.2, -0.3, -1.0]])
    first, second, third = exp(-2.0), exp(-1.0), exp(-5.0)
    wanted = -log(first / (first + second + third)) - log(second / (second + third))
    assert loss(inputs, form="listwise", compared="all").rank.item() == pytest.approx(wanted)


def test_the_gradient_equals_one_computed_by_hand() -> None:
    """1.5 a pair by p, so over 4 tokens and 3; and 1 a token of the teacher's fine-tuning."""
    inputs = batch([[-8.0, -3.0, -10.0]], [[4, 3, 2]], [[1.2, -0.3, -1.0]])
    sums_PR = inputs["logp_sums_PR"].requires_grad_()
    loss(inputs).total.backward()
    assert sums_PR.grad.flatten().tolist() == pytest.approx([-1.5 / 4 - 1, 1.5 / 3, 0])


def test_once_the_teacher_is_likelier_everywhere_only_fine_tuning_is_left() -> None:
    """p_tea >= p_stu for all pairs: the gradient is that of fine-tuning."""
    result = loss(batch([[-1.0, -8.0]], [[4, 3]], [[1.2, -0.3]]))
    assert result.active_pairs == 0
    assert result.total.item() == result.ft.item()
