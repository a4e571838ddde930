"""Batches written down by hand, in float64, to hold objectives against."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from trainer.forward import Batch, Loss

BONUS = 0.2


@dataclass(frozen=True, kw_only=True)
class Made:
    """A response by the log-probabilities of its tokens."""

    tokens: Sequence[float]
    reward: float
    teacher: bool = False
    samples: int = 1
    reference: Sequence[float] | None = None
    """The tokens under the reference; None: as they are."""


def teacher(*tokens: float, reward: float = 1.0, samples: int = 0, reference: Sequence[float] | None = None) -> Made:
    return Made(tokens=tokens, reward=reward, teacher=True, samples=samples, reference=reference)


def student(*tokens: float, reward: float, samples: int = 1, reference: Sequence[float] | None = None) -> Made:
    return Made(tokens=tokens, reward=reward, samples=samples, reference=reference)


def batch_of(*prompts: Sequence[Made], absent: int = 0) -> Batch:
    """A batch with as many columns as it takes, and `absent` responses more for each prompt."""
    columns = max(len(prompt) for prompt in prompts) + absent
    width = max(len(made.tokens) for prompt in prompts for made in prompt)

    def values(of: Any, missing: float, kind: torch.dtype = torch.float64) -> torch.Tensor:
        return torch.tensor(
            [[*(of(made) for made in prompt), *[missing] * (columns - len(prompt))] for prompt in prompts], dtype=kind
        )

    def padded(tokens: Sequence[float]) -> list[float]:
        return [*tokens, *[0.0] * (width - len(tokens))]

    return Batch(
        token_logps_PRS=values(lambda made: padded(made.tokens), padded([])),  # type: ignore[arg-type]  # a row of numbers
        lengths_PR=values(lambda made: len(made.tokens), 1),
        scores_PR=values(lambda made: made.reward + BONUS * made.teacher, 0),
        rewards_PR=values(lambda made: made.reward, 0),
        samples_PR=values(lambda made: made.samples, 0),
        is_teacher_PR=values(lambda made: made.teacher, False, torch.bool),
        is_passed_PR=values(lambda made: made.reward == 1.0, False, torch.bool),
        is_present_PR=values(lambda made: True, False, torch.bool),
        reference_PRS=values(lambda made: padded(made.reference or made.tokens), padded([])),  # type: ignore[arg-type]  # as above
    )


def value_and_gradients(loss: Loss, batch: Batch) -> tuple[float, torch.Tensor]:
    """The loss, and its derivative by each response's log P(y | x), shape (P, R), where all tokens of one weigh alike."""
    batch.token_logps_PRS.requires_grad_().grad = None
    total, _ = loss(batch)
    total.backward()
    gradients_PRS = batch.token_logps_PRS.grad
    assert gradients_PRS is not None
    return total.item(), gradients_PRS[:, :, 0]
