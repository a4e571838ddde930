"""The losses: values computed by hand, gradients against finite differences, and what must not matter."""

from typing import Any

import pytest
import torch

from trainer.objectives.rrtf import RrtfLoss, rrtf_loss
from trainer.objectives.sft import sft_loss

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


def loss(inputs: dict[str, Any], **changes: Any) -> RrtfLoss:
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


def test_the_gradient_agrees_with_finite_differences() -> None:
    """Away from the kink, for both terms and two prompts."""
    inputs = batch([[-8.0, -3.0, -10.0], [-2.0, -6.0, -1.0]], [[4, 3, 2], [2, 7, 3]], [[1.2, -0.3, -1.0], [1.2, 1.0, -0.6]])
    sums_PR = inputs["logp_sums_PR"].requires_grad_()
    assert torch.autograd.gradcheck(lambda values: loss({**inputs, "logp_sums_PR": values}).total, (sums_PR,))


def test_the_order_of_candidates_changes_nothing() -> None:
    """Columns may come in any order, the teacher's among them."""
    inputs = batch([[-8.0, -3.0, -10.0]], [[4, 3, 2]], [[1.2, -0.3, -1.0]])
    order = torch.tensor([2, 0, 1])
    permuted = {name: value[:, order] for name, value in inputs.items()}
    assert loss(permuted).total.item() == pytest.approx(loss(inputs).total.item())


def test_an_absent_column_changes_nothing() -> None:
    """A prompt with fewer responses than its neighbours has columns that count for nothing."""
    inputs = batch([[-8.0, -3.0]], [[4, 3]], [[1.2, -0.3]])
    padded = {name: torch.nn.functional.pad(value, (0, 1), value=1) for name, value in inputs.items()}
    padded["is_present_PR"][:, 2] = False
    assert loss(padded).total.item() == pytest.approx(loss(inputs).total.item())


def test_a_tie_without_a_bonus_has_no_ranking_gradient() -> None:
    """r_tea - r_stu = 0: which is why the bonus of teachers is above 0."""
    inputs = batch([[-8.0, -3.0]], [[4, 3]], [[1.0, 1.0]])
    assert loss(inputs).pairs == 0
    assert loss(inputs).rank.item() == 0


def test_a_tie_with_the_bonus_pulls_by_the_bonus() -> None:
    """The weight of the pair is the bonus itself."""
    assert loss(batch([[-8.0, -3.0]], [[4, 3]], [[1.2, 1.0]])).rank.item() == pytest.approx(0.2 * 1.0)


def test_a_pair_whose_student_scores_higher_drops_out() -> None:
    """The student is likelier and better: nothing pulls it down."""
    assert loss(batch([[-8.0, -3.0]], [[4, 3]], [[-0.1, 1.0]])).rank.item() == 0


def test_students_are_not_compared_with_one_another() -> None:
    """The objective has teacher and student pairs only."""
    assert loss(batch([[-1.0, -8.0, -3.0]], [[1, 4, 3]], [[1.2, 1.0, -1.0]])).pairs == 2


def test_once_the_teacher_is_likelier_everywhere_only_fine_tuning_is_left() -> None:
    """p_tea >= p_stu for all pairs: the gradient is that of fine-tuning."""
    result = loss(batch([[-1.0, -8.0]], [[4, 3]], [[1.2, -0.3]]))
    assert result.active_pairs == 0
    assert result.total.item() == result.ft.item()


def test_prompts_are_averaged_whatever_their_number_of_responses() -> None:
    """The batch's loss is the mean of the losses of its prompts."""
    one = batch([[-8.0, -3.0]], [[4, 3]], [[1.2, -0.3]])
    other = batch([[-2.0, -1.0]], [[2, 4]], [[1.2, 1.0]])
    both = {name: torch.cat([one[name], other[name]]) for name in one}
    assert loss(both).total.item() == pytest.approx((loss(one).total.item() + loss(other).total.item()) / 2)


def test_supervised_loss_ignores_what_was_not_chosen() -> None:
    """Only chosen responses count, each normalised by its own length."""
    inputs = batch([[-8.0, -3.0]], [[4, 3]], [[0.0, 0.0]])
    result = sft_loss(inputs["logp_sums_PR"], inputs["lengths_PR"], inputs["is_teacher_PR"], reduction="mean")
    assert result.item() == pytest.approx(2.0)
