"""GRPO, group relative policy optimization (DeepSeekMath, arXiv 2402.03300, section 4.1), as a pure function.

The policy that sampled and the reference model are one here: the student at the start of the round.
Shape letters: P prompts, R responses of a prompt, S token columns of the longest response.
"""

import torch

from trainer.objectives.groups import PolicyLoss, clipped_surrogate, count_groups, mean_of_group

_EPSILON = 1e-4


def grpo_loss(
    token_logps_PRS: torch.Tensor,
    reference_token_logps_PRS: torch.Tensor,
    lengths_PR: torch.Tensor,
    rewards_PR: torch.Tensor,
    members_PR: torch.Tensor,
    *,
    clip: float,
    kl_weight: float,
) -> PolicyLoss:
    """Loss of P prompts: mean over the tokens of a response, over the members of a group, over the prompts (equation 3).

    token_logps_PRS              log P(y_t | x, y_<t); anything where the response has no such token
    reference_token_logps_PRS    the same of the student at the start of the round, without a gradient
    lengths_PR                   number of tokens of each response, at least 1
    rewards_PR                   scores without the bonus of teachers
    members_PR                   how many members of the group each response stands for; 0 where it is absent
    """
    is_token_PRS = torch.arange(token_logps_PRS.shape[2], device=lengths_PR.device) < lengths_PR[:, :, None]
    is_token_PRS = is_token_PRS & (members_PR > 0)[:, :, None]
    log_ratios_PRS = torch.where(is_token_PRS, token_logps_PRS - reference_token_logps_PRS, 0.0)
    advantages_PR1 = grpo_advantages(rewards_PR, members_PR)[:, :, None]
    gains_PRS, is_clipped_PRS = clipped_surrogate(advantages_PR1, log_ratios_PRS, clip)
    # D_KL = pi_ref/pi - log pi_ref/pi - 1 (equation 4)
    divergences_PRS = (-log_ratios_PRS).exp() + log_ratios_PRS - 1

    def mean(values_PRS: torch.Tensor) -> torch.Tensor:
        return mean_of_group((values_PRS * is_token_PRS).sum(dim=2) / lengths_PR, members_PR).mean()

    gain, kl = mean(gains_PRS), mean(divergences_PRS)
    clipped_share = (is_clipped_PRS & is_token_PRS).sum() / is_token_PRS.sum().clamp(min=1)
    return PolicyLoss(
        total=kl_weight * kl - gain, kl=kl, clipped_share=clipped_share.item(), groups=count_groups(rewards_PR, members_PR)
    )


def grpo_advantages(rewards_PR: torch.Tensor, members_PR: torch.Tensor) -> torch.Tensor:
    """A_i = (r_i - mean(r)) / std(r); 0 in a group of one, or of equal rewards.

    The deviation is that of a sample (divisor n - 1) with 1e-4 added, as implementations have it; the paper leaves both open.
    """
    deviations_PR = rewards_PR - mean_of_group(rewards_PR, members_PR)
    size_P1 = members_PR.sum(dim=1, keepdim=True)
    variance_P1 = (deviations_PR.square() * members_PR).sum(dim=1, keepdim=True) / (size_P1 - 1).clamp(min=1)
    return deviations_PR / (variance_P1.sqrt() + _EPSILON)
