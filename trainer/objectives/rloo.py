"""RLOO, REINFORCE with a leave-one-out baseline (arXiv 2402.14740), as a pure function.

The paper takes one step for each sample. Here a round takes many on the samples of its start, so the gradient is corrected by the
ratio of the whole response's probability now to that when it was sampled, clipped as in PPO; in the first step the ratio is 1
and the gradient is the paper's.
Shape letters: P prompts, R responses of a prompt.
"""

import torch

from trainer.objectives.groups import PolicyLoss, clipped_surrogate, count_groups, mean_of_group


def rloo_loss(
    logp_sums_PR: torch.Tensor,
    reference_logp_sums_PR: torch.Tensor,
    rewards_PR: torch.Tensor,
    members_PR: torch.Tensor,
    *,
    clip: float,
) -> PolicyLoss:
    """Loss of P prompts: mean over the members of a group, mean over the prompts.

    logp_sums_PR              sum over the tokens of a response of log P(y_t | x, y_<t)
    reference_logp_sums_PR    the same of the student at the start of the round, without a gradient
    rewards_PR                scores without the bonus of teachers
    members_PR                how many members of the group each response stands for; 0 where it is absent
    """
    is_member_PR = members_PR > 0
    log_ratios_PR = torch.where(is_member_PR, logp_sums_PR - reference_logp_sums_PR, 0.0)
    gains_PR, is_clipped_PR = clipped_surrogate(rloo_advantages(rewards_PR, members_PR), log_ratios_PR, clip)
    return PolicyLoss(
        total=-mean_of_group(gains_PR, members_PR).mean(),
        kl=-mean_of_group(log_ratios_PR.detach(), members_PR).mean(),  # for the eye: no part of the loss
        clipped_share=((is_clipped_PR & is_member_PR).sum() / is_member_PR.sum().clamp(min=1)).item(),
        groups=count_groups(rewards_PR, members_PR),
    )


def rloo_advantages(rewards_PR: torch.Tensor, members_PR: torch.Tensor) -> torch.Tensor:
    """A_i = r_i - 1/(k-1) sum over j != i of r_j; 0 in a group of one."""
    size_P1 = members_PR.sum(dim=1, keepdim=True)
    others_PR = ((rewards_PR * members_PR).sum(dim=1, keepdim=True) - rewards_PR) / (size_P1 - 1).clamp(min=1)
    return torch.where(size_P1 > 1, rewards_PR - others_PR, 0.0)
