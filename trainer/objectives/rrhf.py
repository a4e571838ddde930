"""RRHF, the objective that RRTF descends from (arXiv 2304.05302, section 3), as a pure function.

All pairs are compared, teachers' and students' alike; a pair weighs the same however far its scores lie apart.
Shape letters: P prompts, R responses of a prompt; of a pair, B is the better and W the worse response.
"""

import torch

from trainer.objectives.pairs import RankingLoss, differences, find_best, find_pairs, over_prompts
from trainer.objectives.settings import Reduction
from trainer.objectives.sft import sft_loss


def rrhf_loss(
    logp_sums_PR: torch.Tensor,
    lengths_PR: torch.Tensor,
    scores_PR: torch.Tensor,
    is_present_PR: torch.Tensor,
    *,
    rank_weight: float,
    ft_reduction: Reduction,
    pair_reduction: Reduction,
) -> RankingLoss:
    """Loss of P prompts with up to R responses each, averaged over the prompts; the arguments are those of `rrtf_loss`."""
    logps_PR = logp_sums_PR / lengths_PR  # p_i = sum_t log P(y_i,t | x, y_i,<t) / |y_i|
    is_pair_PBW = find_pairs(scores_PR, torch.zeros_like(is_present_PR), is_present_PR, "all")  # sum over r_i < r_j
    gaps_PBW = differences(logps_PR)
    rank = over_prompts((-gaps_PBW).clamp(min=0), is_pair_PBW, pair_reduction)  # L_rank = sum max(0, p_i - p_j)
    best_PR = find_best(scores_PR, is_present_PR)  # i' = argmax r_i
    ft = sft_loss(logp_sums_PR, lengths_PR, best_PR, reduction=ft_reduction)  # L_ft = - sum_t log P(y_i',t | x, y_i',<t)
    return RankingLoss(
        total=rank_weight * rank + ft,  # L = L_rank + L_ft
        rank=rank,
        ft=ft,
        pairs=int(is_pair_PBW.sum()),
        active_pairs=int((is_pair_PBW & (gaps_PBW < 0)).sum()),
    )
