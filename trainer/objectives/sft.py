"""Supervised fine-tuning on chosen responses, as a pure function. On the teachers' responses it is the first control of RRTF.

Shape letters: P prompts, R responses of a prompt.
"""

import torch

from trainer.objectives.settings import Reduction


def sft_loss(
    logp_sums_PR: torch.Tensor, lengths_PR: torch.Tensor, chosen_PR: torch.Tensor, *, reduction: Reduction
) -> torch.Tensor:
    """Negative log-likelihood of the chosen responses: mean or sum over tokens, mean over responses, mean over prompts.

    logp_sums_PR    sum over the tokens of a response of log P(y_t | x, y_<t)
    lengths_PR      number of those tokens, at least 1
    chosen_PR       booleans, or how often each response was chosen; a prompt without a chosen response counts as 0
    """
    losses_PR = -logp_sums_PR / lengths_PR if reduction == "mean" else -logp_sums_PR
    losses_PR = torch.where(chosen_PR > 0, losses_PR * chosen_PR, torch.zeros_like(losses_PR))
    losses_P = losses_PR.sum(dim=1) / chosen_PR.sum(dim=1).clamp(min=1)
    return losses_P.mean()
