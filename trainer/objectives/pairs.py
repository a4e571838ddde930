"""Which response to a prompt should be likelier than which: what the ranking objectives share.

Shape letters: P prompts, R responses of a prompt (the columns of a prompt with fewer are absent). Of a pair, B is the better and
W the worse response; both run over R.
"""

from dataclasses import dataclass

import torch

from trainer.objectives.settings import Compared, Reduction


@dataclass(frozen=True, kw_only=True, slots=True)
class RankingLoss:
    """Scalars. `active_pairs` of `pairs` are not yet in their order, and so pull harder than the others, or alone."""

    total: torch.Tensor
    rank: torch.Tensor
    ft: torch.Tensor
    pairs: int
    active_pairs: int


def differences(values_PR: torch.Tensor) -> torch.Tensor:
    """Better minus worse, for all pairs of columns: shape (P, B, W)."""
    return values_PR[:, :, None] - values_PR[:, None, :]


def find_pairs(
    scores_PR: torch.Tensor, is_teacher_PR: torch.Tensor, is_present_PR: torch.Tensor, compared: Compared
) -> torch.Tensor:
    """Booleans of shape (P, B, W): both are there and B scores above W; B is a teacher's and W a student's, or any."""
    better_PB, worse_PW = is_present_PR, is_present_PR
    if compared == "teacher_student":
        better_PB, worse_PW = better_PB & is_teacher_PR, worse_PW & ~is_teacher_PR
    return better_PB[:, :, None] & worse_PW[:, None, :] & (differences(scores_PR) > 0)


def find_best(scores_PR: torch.Tensor, is_present_PR: torch.Tensor) -> torch.Tensor:
    """Booleans: the responses with the highest score of their prompt, several in a tie."""
    scores_PR = scores_PR.masked_fill(~is_present_PR, -torch.inf)
    return is_present_PR & (scores_PR == scores_PR.amax(dim=1, keepdim=True))


def find_imitated(scores_PR: torch.Tensor, is_teacher_PR: torch.Tensor, is_present_PR: torch.Tensor) -> torch.Tensor:
    """Booleans: the teachers' responses that no response to their prompt outscores.

    L_ft belongs to a pair (arXiv 2307.14936, section 3), and one whose teacher scores below the student is dropped as a whole.
    """
    return is_teacher_PR & find_best(scores_PR, is_present_PR)


def over_prompts(terms: torch.Tensor, counts: torch.Tensor, reduction: Reduction) -> torch.Tensor:
    """Sum or mean of the terms of a prompt that count, then the mean over prompts; both of shape (P, ...)."""
    sums_P = torch.where(counts, terms, torch.zeros_like(terms)).flatten(1).sum(dim=1)
    if reduction == "mean":
        sums_P = sums_P / counts.flatten(1).sum(dim=1).clamp(min=1)
    return sums_P.mean()
