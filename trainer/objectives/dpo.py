"""DPO, direct preference optimization (arXiv 2305.18290, equation 7), as a pure function.

The reference model is the student as it was when it sampled. A fine-tuning term can be added, as in iterative reasoning
preference optimization (arXiv 2404.19733): without one the better response may become less likely too.
Shape letters: P prompts, R responses of a prompt; of a pair, B is the better and W the worse response.
"""

import torch
from torch.nn.functional import logsigmoid

from trainer.objectives.pairs import RankingLoss, differences, find_best, find_pairs, over_prompts
from trainer.objectives.settings import Compared, Reduction
from trainer.objectives.sft import sft_loss


def dpo_loss(
    logp_sums_PR: torch.Tensor,
    reference_logp_sums_PR: torch.Tensor,
    lengths_PR: torch.Tensor,
    scores_PR: torch.Tensor,
    is_teacher_PR: torch.Tensor,
    is_present_PR: torch.Tensor,
    *,
    beta: float,
    compared: Compared,
    ft_weight: float,
    ft_reduction: Reduction,
) -> RankingLoss:
    """Loss of P prompts: the mean over the pairs of each, averaged over the prompts.

    reference_logp_sums_PR    as logp_sums_PR, of the reference model, without a gradient
    The other arguments are those of `rrtf_loss`.
    """
    log_ratios_PR = logp_sums_PR - reference_logp_sums_PR  # log pi(y | x) / pi_ref(y | x)
    is_pair_PBW = find_pairs(scores_PR, is_teacher_PR, is_present_PR, compared)
    gaps_PBW = differences(log_ratios_PR)
    # L = - log sigmoid(beta log pi(y_w)/pi_ref(y_w) - beta log pi(y_l)/pi_ref(y_l))
    rank = over_prompts(-logsigmoid(beta * gaps_PBW), is_pair_PBW, "mean")
    ft = sft_loss(logp_sums_PR, lengths_PR, find_best(scores_PR, is_present_PR), reduction=ft_reduction)
    return RankingLoss(
        total=rank + ft_weight * ft,
        rank=rank,
        ft=ft,
        pairs=int(is_pair_PBW.sum()),
        active_pairs=int((is_pair_PBW & (gaps_PBW < 0)).sum()),
    )
