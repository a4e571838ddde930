"""RAFT, supervised fine-tuning on the best of a student's own samples (arXiv 2304.06767, algorithm 1): no teacher, no ranking.

Shape letters: P prompts, R responses of a prompt.
"""

import torch

from trainer.objectives.pairs import find_best
from trainer.objectives.settings import Reduction
from trainer.objectives.sft import sft_loss


def raft_loss(
    logp_sums_PR: torch.Tensor,
    lengths_PR: torch.Tensor,
    rewards_PR: torch.Tensor,
    samples_PR: torch.Tensor,
    is_passed_PR: torch.Tensor,
    *,
    passed_only: bool,
    ft_reduction: Reduction,
) -> torch.Tensor:
    """Fine-tuning loss of y = argmax r(x, y_i) over the samples of each prompt; those that tie share it.

    rewards_PR      scores without the bonus of teachers
    samples_PR      how many of the student's samples each response stands for; 0 for a teacher's and where absent
    is_passed_PR    booleans: passed all tests
    passed_only     a prompt whose best sample failed teaches nothing
    """
    chosen_PR = find_best(rewards_PR, samples_PR > 0)
    if passed_only:
        chosen_PR = chosen_PR & is_passed_PR
    return sft_loss(logp_sums_PR, lengths_PR, chosen_PR * samples_PR, reduction=ft_reduction)
