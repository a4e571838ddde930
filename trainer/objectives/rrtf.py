"""RRTF, the ranking objective of PanGu-Coder2 (arXiv 2307.14936, section 3), as a pure function.

Shape letters: P prompts, R responses of a prompt (the columns of a prompt with fewer are absent).
"""

from dataclasses import dataclass
from typing import Literal

import torch

from trainer.objectives.sft import sft_loss

type Reduction = Literal["mean", "sum"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RrtfLoss:
    """Scalars. `active_pairs` of `pairs` pull: there the student's response is likelier than the teacher's."""

    total: torch.Tensor
    rank: torch.Tensor
    ft: torch.Tensor
    pairs: int
    active_pairs: int


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
) -> RrtfLoss:
    """Loss of P prompts with up to R responses each, averaged over the prompts.

    The paper adds L_ft to every pair; here a teacher's response counts once, however many students it is held up against.

    logp_sums_PR    sum over the tokens of a response of log P(y_t | x, y_<t)
    lengths_PR      number of those tokens, at least 1; the divisor of the length normalisation
    scores_PR       test scores, the bonus of teachers included
    is_teacher_PR, is_present_PR    booleans
    """
    logps_PR = logp_sums_PR / lengths_PR  # p_i = sum_t log P(y_i,t | x, y_i,<t) / |y_i|
    margins_PTS = scores_PR[:, :, None] - scores_PR[:, None, :]  # r_tea - r_stu
    gaps_PTS = logps_PR[:, :, None] - logps_PR[:, None, :]  # p_tea - p_stu
    teachers_PT, students_PS = is_teacher_PR & is_present_PR, ~is_teacher_PR & is_present_PR
    is_pair_PTS = teachers_PT[:, :, None] & students_PS[:, None, :] & (margins_PTS > 0)  # sum over r_tea > r_stu
    # L_rank = - sum (r_tea - r_stu) * min(0, p_tea - p_stu)
    terms_PTS = torch.where(is_pair_PTS, -margins_PTS * gaps_PTS.clamp(max=0), torch.zeros_like(gaps_PTS))
    rank_P = terms_PTS.sum(dim=(1, 2))
    if pair_reduction == "mean":
        rank_P = rank_P / is_pair_PTS.sum(dim=(1, 2)).clamp(min=1)
    rank = rank_P.mean()
    # L_ft = - sum_t log P(y_tea,t | x, y_tea,<t)
    ft = sft_loss(logp_sums_PR, lengths_PR, teachers_PT, reduction=ft_reduction)
    return RrtfLoss(
        total=rank_weight * rank + ft,  # L = L_rank + L_ft
        rank=rank,
        ft=ft,
        pairs=int(is_pair_PTS.sum()),
        active_pairs=int((is_pair_PTS & (gaps_PTS < 0)).sum()),
    )
