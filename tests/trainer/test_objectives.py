"""What is true of every objective: gradients are those of the loss, and neither order nor padding matters."""

from dataclasses import fields, replace

import pytest
import torch
from torch.nn.functional import pad

from tests.trainer.small_batch import batch_of, student, teacher
from trainer.forward import Batch
from trainer.objectives.chosen import loss_of
from trainer.objectives.settings import OBJECTIVES, Dpo, Grpo, Objective, Raft, Rloo, Rrhf, Rrtf, Sft, Ssd

EVERY: list[Objective] = [
    Rrtf(),
    Rrtf(rank_weight=1.0, ft_reduction="sum", compared="all", margin=0.1, pair_reduction="mean"),
    Rrtf(rank_weight=1.0, form="listwise", compared="all"),
    Sft(),
    Sft(ft_reduction="sum"),
    Raft(),
    Raft(passed_only=False),
    Ssd(),
    Rrhf(),
    Rrhf(rank_weight=1.0, ft_reduction="sum", pair_reduction="mean"),
    Dpo(),
    Dpo(compared="all", ft_weight=1.0),
    Grpo(),
    Grpo(kl_weight=1.0, teacher_in_group=True),
    Rloo(),
    Rloo(teacher_in_group=True),
]
every_objective = pytest.mark.parametrize("objective", EVERY, ids=lambda objective: repr(objective).partition("(")[2])


def mixed() -> Batch:
    """Two prompts with different numbers of responses, every verdict, a response sampled twice, a teacher's that was sampled."""
    near = (-1.9, -2.2, -1.7)
    return batch_of(
        [
            teacher(-1.0, -2.5),
            student(-2.0, -2.0, -1.6, reward=-0.3, reference=near),
            student(-0.7, reward=1.0, samples=2, reference=(-0.6,)),
            student(-0.2, -0.4, -0.1, -0.9, reward=-1.0, reference=(-0.2, -1.2, -0.1, -0.9)),
        ],
        [teacher(-0.5, -0.5, -0.3, samples=1, reference=(-0.6, -0.4, -0.3)), student(-0.8, -0.1, reward=-0.6)],
    )


def total(objective: Objective, batch: Batch) -> torch.Tensor:
    return loss_of(objective)(batch)[0]


def changed(batch: Batch, change: object) -> Batch:
    """The batch with every tensor put through `change`."""
    return replace(batch, **{field.name: change(getattr(batch, field.name)) for field in fields(batch)})  # type: ignore[operator]


def test_every_objective_is_tried() -> None:
    """A new one has to be added above."""
    assert {type(objective) for objective in EVERY} == set(OBJECTIVES)


@every_objective
def test_the_gradient_agrees_with_finite_differences(objective: Objective) -> None:
    """By every token, away from the kinks."""
    batch = mixed()
    tokens_PRS = batch.token_logps_PRS.requires_grad_()
    assert torch.autograd.gradcheck(lambda values: total(objective, replace(batch, token_logps_PRS=values)), (tokens_PRS,))


@every_objective
def test_the_loss_depends_on_the_model(objective: Objective) -> None:
    """No objective is constant on this batch, so the properties here say something."""
    batch = mixed()
    tokens_PRS = batch.token_logps_PRS.requires_grad_()
    [gradient_PRS] = torch.autograd.grad(total(objective, batch), tokens_PRS)
    assert gradient_PRS.abs().sum() > 0


@every_objective
def test_the_order_of_candidates_changes_nothing(objective: Objective) -> None:
    """Columns may come in any order, the teacher's and the absent ones among them."""
    batch, order = mixed(), torch.tensor([2, 0, 3, 1])
    assert total(objective, changed(batch, lambda values: values[:, order])).item() == pytest.approx(
        total(objective, batch).item()
    )


@every_objective
def test_the_order_of_prompts_changes_nothing(objective: Objective) -> None:
    """Neither is row 0 special, nor the last."""
    batch = mixed()
    assert total(objective, changed(batch, lambda values: values.flip(0))).item() == pytest.approx(total(objective, batch).item())


@every_objective
def test_absent_responses_change_nothing(objective: Objective) -> None:
    """Whatever stands in the tokens of a response that is not there."""
    batch = mixed()
    more = changed(batch, lambda values: pad(values, (0, 0) * (values.dim() - 2) + (0, 2)))
    more.lengths_PR[:, -2:] = 1
    more.token_logps_PRS[:, -2:] = -5.0
    assert total(objective, more).item() == pytest.approx(total(objective, batch).item())


@every_objective
def test_padding_columns_change_nothing(objective: Objective) -> None:
    """A longer neighbour makes every row wider and no loss different."""
    batch = mixed()
    wider = replace(
        batch,
        token_logps_PRS=pad(batch.token_logps_PRS, (0, 3)),
        reference_PRS=pad(batch.reference_token_logps_PRS, (0, 3)),
    )
    assert total(objective, wider).item() == pytest.approx(total(objective, batch).item())


@every_objective
def test_prompts_are_averaged_whatever_their_number_of_responses(objective: Objective) -> None:
    """The batch's loss is the mean of the losses of its prompts."""
    batch = mixed()
    alone = [total(objective, changed(batch, lambda values, p=p: values[p : p + 1])).item() for p in range(2)]
    assert total(objective, batch).item() == pytest.approx(sum(alone) / 2)


@pytest.mark.parametrize(
    "objective", [o for o in EVERY if o.needs_reference], ids=lambda objective: repr(objective).partition("(")[2]
)
def test_a_reference_that_was_not_asked_is_not_made_up(objective: Objective) -> None:
    """The loss refuses to go on without one."""
    with pytest.raises(AssertionError, match="reference model that was not asked"):
        total(objective, replace(mixed(), reference_PRS=None))
