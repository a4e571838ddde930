"""SSD, supervised fine-tuning on all of a student's own samples, right or wrong: simple self-distillation (arXiv 2604.01193).

What it gains comes from sampling at a temperature and not from any verdict, so a claim for feedback has to beat it.
Shape letters: P prompts, R responses of a prompt.
"""

import torch

from trainer.objectives.settings import Reduction
from trainer.objectives.sft import sft_loss


def ssd_loss(
    logp_sums_PR: torch.Tensor, lengths_PR: torch.Tensor, samples_PR: torch.Tensor, *, ft_reduction: Reduction
) -> torch.Tensor:
    """Fine-tuning loss of every sample, a response that was sampled twice counting twice.

    samples_PR      how many of the student's samples each response stands for; 0 for a teacher's and where absent
    """
    return sft_loss(logp_sums_PR, lengths_PR, samples_PR, reduction=ft_reduction)
