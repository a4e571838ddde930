"""The section [objective] of a recipe: `name` chooses the objective, and the other keys are that objective's own.

A key of another objective is an error. This module needs no torch.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from trainer.section import NotNegative, Positive, Section, Share

Reduction = Literal["mean", "sum"]
Compared = Literal["teacher_student", "all"]


class _Objective(Section):
    needs_reference: ClassVar[bool] = False
    """Whether the loss compares with the student at the start of the round."""


class Rrtf(_Objective):
    """L = rank_weight * L_rank + L_ft; see trainer.objectives.rrtf."""

    name: Literal["rrtf"] = "rrtf"
    """What is trained on the ranked responses: rrtf, or one of its controls sft, raft, ssd, rrhf, dpo, grpo, rloo."""
    rank_weight: NotNegative = 0.1
    """Weight of L_rank. The paper sums L_ft over tokens, so for a response of 30 tokens its weight is 1/30 of a mean's."""
    ft_reduction: Reduction = "mean"
    """Fine-tuning loss of a response: mean over its tokens, or the paper's sum, which drowns the ranking."""
    pair_reduction: Reduction = "sum"
    """Ranking loss of a task: the paper's sum over its pairs, or their mean."""
    compared: Compared = "teacher_student"
    """The paper's pairs have a teacher's response on top; all: students are compared with one another as well."""
    margin: NotNegative = 0.0
    """Nats a token by which the better response has to lead; the paper has none."""
    form: Literal["pairwise", "listwise"] = "pairwise"
    """The paper's pairs weighted by their scores, or each response against all worse ones at once, by their order alone."""


class Sft(_Objective):
    """Fine-tuning on the teachers' responses; see trainer.objectives.sft."""

    name: Literal["sft"] = "sft"
    """Fine-tuning on the teachers' responses alone: what RRTF is once every pair is in order."""
    ft_reduction: Reduction = "mean"
    """Loss of a response: mean over its tokens, or sum."""


class Raft(_Objective):
    """Fine-tuning on the best of the student's samples; see trainer.objectives.raft."""

    name: Literal["raft"] = "raft"
    """Fine-tuning on the best of the student's own samples."""
    passed_only: bool = True
    """Whether a task whose best sample fails teaches nothing; the paper, which has no tests, takes the best in any case."""
    ft_reduction: Reduction = "mean"
    """Loss of a response: mean over its tokens, or sum."""


class Ssd(_Objective):
    """Fine-tuning on all of the student's samples; see trainer.objectives.ssd."""

    name: Literal["ssd"] = "ssd"
    """Fine-tuning on the student's own samples, right or wrong."""
    ft_reduction: Reduction = "mean"
    """Loss of a response: mean over its tokens, or sum."""


class Rrhf(_Objective):
    """L = rank_weight * L_rank + L_ft over all pairs; see trainer.objectives.rrhf."""

    name: Literal["rrhf"] = "rrhf"
    """All pairs alike, and fine-tuning on the best response."""
    rank_weight: NotNegative = 0.1
    """Weight of L_rank; RRTF's default, for the same reason."""
    ft_reduction: Reduction = "mean"
    """Fine-tuning loss of a response: mean over its tokens, or the paper's sum."""
    pair_reduction: Reduction = "sum"
    """Ranking loss of a task: the paper's sum over its pairs, or their mean."""


class Dpo(_Objective):
    """-log sigmoid(beta * lead over the reference model's lead); see trainer.objectives.dpo."""

    needs_reference: ClassVar[bool] = True
    name: Literal["dpo"] = "dpo"
    """Direct preference optimization against the student at the start of the round."""
    beta: Positive = 0.1
    """How soon a lead is enough; the paper's value."""
    compared: Compared = "teacher_student"
    """The pairs: RRTF's, or all with different scores."""
    ft_weight: NotNegative = 0.0
    """Weight of a fine-tuning loss on the best response; the paper has none."""
    ft_reduction: Reduction = "mean"
    """Fine-tuning loss of a response: mean over its tokens, or sum."""


class _Policy(_Objective):
    needs_reference: ClassVar[bool] = True


class Grpo(_Policy):
    """Clipped ratios of tokens, advantages standardised within a task; see trainer.objectives.grpo."""

    name: Literal["grpo"] = "grpo"
    """Group relative policy optimization on the student's own samples."""
    clip: Share = 0.2
    """How far the ratio of a token's probabilities may leave 1 before it stops to pull; PPO's value."""
    kl_weight: NotNegative = 0.04
    """Weight of the divergence from the student at the start of the round; the paper's value."""
    teacher_in_group: bool = False
    """Whether the teacher's response joins the group, though the student did not sample it; the paper knows no teacher."""


class Rloo(_Policy):
    """Clipped ratios of responses, the other samples as the baseline; see trainer.objectives.rloo."""

    name: Literal["rloo"] = "rloo"
    """REINFORCE with a leave-one-out baseline on the student's own samples."""
    clip: Share = 0.2
    """How far the ratio of a response's probabilities may leave 1 before it stops to pull."""
    teacher_in_group: bool = False
    """Whether the teacher's response joins the group, though the student did not sample it; the paper knows no teacher."""


OBJECTIVES: tuple[type[Section], ...] = (Rrtf, Sft, Raft, Ssd, Rrhf, Dpo, Grpo, Rloo)
"""In the order in which they are told of; the first is the default."""


def _rrtf_unless_named(settings: object) -> object:
    return {"name": "rrtf", **settings} if isinstance(settings, dict) else settings


type Objective = Annotated[
    Annotated[Rrtf | Sft | Raft | Ssd | Rrhf | Dpo | Grpo | Rloo, Field(discriminator="name")],
    BeforeValidator(_rrtf_unless_named),
]
