"""A student's samples of one prompt as a group whose members are each other's baseline: what GRPO and RLOO share.

A response that was sampled twice counts twice; the policy that sampled is the student at the start of the round.
Shape letters: P prompts, R responses of a prompt.
"""

from dataclasses import dataclass

import torch

_LARGEST_LOG_RATIO = 20.0
"""Beyond it the exponential would soon be infinite, and infinity times an advantage of 0 is no number."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PolicyLoss:
    """Scalars; the share of ratios that were clipped, and the number of groups whose rewards differ: only these teach."""

    total: torch.Tensor
    kl: torch.Tensor
    clipped_share: float
    groups: int


def mean_of_group(values_PR: torch.Tensor, members_PR: torch.Tensor) -> torch.Tensor:
    """Mean over the members, shape (P, 1); 0 where there are none."""
    return (values_PR * members_PR).sum(dim=1, keepdim=True) / members_PR.sum(dim=1, keepdim=True).clamp(min=1)


def clipped_surrogate(advantages: torch.Tensor, log_ratios: torch.Tensor, clip: float) -> tuple[torch.Tensor, torch.Tensor]:
    """min(ratio A, clip(ratio, 1 - clip, 1 + clip) A), and booleans: where the clipped one was taken.

    Source: PPO, arXiv 1707.06347, equation 7.
    """
    ratios = log_ratios.clamp(-_LARGEST_LOG_RATIO, _LARGEST_LOG_RATIO).exp()
    free, clipped = ratios * advantages, ratios.clamp(1 - clip, 1 + clip) * advantages
    return torch.minimum(free, clipped), clipped < free


def count_groups(rewards_PR: torch.Tensor, members_PR: torch.Tensor) -> int:
    """How many groups have members with different rewards."""
    is_member_PR = members_PR > 0
    highest_P = rewards_PR.masked_fill(~is_member_PR, -torch.inf).amax(dim=1)
    lowest_P = rewards_PR.masked_fill(~is_member_PR, torch.inf).amin(dim=1)
    return int((highest_P > lowest_P).sum())
