"""RRTF, the ranking objective of PanGu-Coder2 (arXiv 2307.14936, section 3), as a pure function.

Beside the paper's teacher and student pairs there are three extensions, off unless asked for: students are compared with one
another as well, the better response has to lead by a margin, and a response competes with all that are worse at once (listwise).

Shape letters: P prompts, R responses of a prompt; of a pair, B is the better and W the worse response.
"""

from typing import Literal

import torch

from trainer.objectives.pairs import RankingLoss, differences, find_imitated, find_pairs, over_prompts
from trainer.objectives.settings import Compared, Reduction
from trainer.objectives.sft import sft_loss


def rrtf_loss(
    logp_sums_PR: torch.Tensor,
    lengths_PR: torch.Tensor,
    scores_PR: torch.Tensor,
    is_teacher_PR: torch.Tensor,
    is_present_PR: torch.Tensor,
    *,
    rank_weight: float,
    ft_reduction: Reduction,
    pair_reduction: Reduction,
    compared: Compared = "teacher_student",
    margin: float = 0.0,
    form: Literal["pairwise", "listwise"] = "pairwise",
) -> RankingLoss:
    """Loss of P prompts with up to R responses each, averaged over the prompts.

    The paper adds L_ft to every pair; here a teacher's response counts once, however many students it is held up against, and
    not at all where another response scores higher.

    logp_sums_PR    sum over the tokens of a response of log P(y_t | x, y_<t)
    lengths_PR      number of those tokens, at least 1; the divisor of the length normalisation
    scores_PR       test scores, the bonus of teachers included
    is_teacher_PR, is_present_PR    booleans
    margin          nats a token
    """
    logps_PR = logp_sums_PR / lengths_PR  # p_i = sum_t log P(y_i,t | x, y_i,<t) / |y_i|
    is_pair_PBW = find_pairs(scores_PR, is_teacher_PR, is_present_PR, compared)  # sum over r_tea > r_stu
    leads_PBW = differences(logps_PR) - margin  # p_tea - p_stu
    if form == "listwise":
        rank = over_prompts(_listwise(leads_PBW, is_pair_PBW), is_pair_PBW.any(dim=2), pair_reduction)
    else:  # L_rank = - sum (r_tea - r_stu) * min(0, p_tea - p_stu)
        rank = over_prompts(-differences(scores_PR) * leads_PBW.clamp(max=0), is_pair_PBW, pair_reduction)
    # L_ft = - sum_t log P(y_tea,t | x, y_tea,<t)
    ft = sft_loss(logp_sums_PR, lengths_PR, find_imitated(scores_PR, is_teacher_PR, is_present_PR), reduction=ft_reduction)
    return RankingLoss(
        total=rank_weight * rank + ft,  # L = L_rank + L_ft
        rank=rank,
        ft=ft,
        pairs=int(is_pair_PBW.sum()),
        active_pairs=int((is_pair_PBW & (leads_PBW < 0)).sum()),
    )


def _listwise(leads_PBW: torch.Tensor, is_pair_PBW: torch.Tensor) -> torch.Tensor:
    """- log (e^p_b / (e^p_b + sum over worse of e^p_w)) for every response, shape (P, B).

    The likelihood of a ranking in the model of Plackett and Luce, as in PRO (arXiv 2306.17492). Responses with equal scores do
    not compete, so their order changes nothing.
    """
    odds_PBW = torch.where(is_pair_PBW, -leads_PBW, torch.full_like(leads_PBW, -torch.inf))
    itself_PB1 = torch.zeros_like(leads_PBW[:, :, :1])
    return torch.cat([itself_PB1, odds_PBW], dim=2).logsumexp(dim=2)
