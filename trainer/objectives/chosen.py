"""The objective that a recipe chose, as a function of a batch: the only place that knows both settings and losses.

Each function below hands a batch's tensors and one objective's settings to its loss, and names what the loss logs.
"""

from functools import partial

import torch

from trainer.forward import Batch, Loss, Metrics
from trainer.objectives.dpo import dpo_loss
from trainer.objectives.groups import PolicyLoss
from trainer.objectives.grpo import grpo_loss
from trainer.objectives.pairs import RankingLoss, find_imitated
from trainer.objectives.raft import raft_loss
from trainer.objectives.rloo import rloo_loss
from trainer.objectives.rrhf import rrhf_loss
from trainer.objectives.rrtf import rrtf_loss
from trainer.objectives.settings import Dpo, Grpo, Objective, Raft, Rloo, Rrhf, Rrtf, Sft, Ssd
from trainer.objectives.sft import sft_loss
from trainer.objectives.ssd import ssd_loss

type Result = tuple[torch.Tensor, Metrics]


def loss_of(objective: Objective) -> Loss:
    """The loss of a batch and what it logs, under these settings."""
    match objective:
        case Rrtf():
            return partial(_rrtf, objective)
        case Sft():
            return partial(_sft, objective)
        case Raft():
            return partial(_raft, objective)
        case Ssd():
            return partial(_ssd, objective)
        case Rrhf():
            return partial(_rrhf, objective)
        case Dpo():
            return partial(_dpo, objective)
        case Grpo():
            return partial(_grpo, objective)
        case Rloo():
            return partial(_rloo, objective)


def _rrtf(settings: Rrtf, batch: Batch) -> Result:
    loss = rrtf_loss(
        batch.logp_sums_PR,
        batch.lengths_PR,
        batch.scores_PR,
        batch.is_teacher_PR,
        batch.is_present_PR,
        rank_weight=settings.rank_weight,
        ft_reduction=settings.ft_reduction,
        pair_reduction=settings.pair_reduction,
        compared=settings.compared,
        margin=settings.margin,
        form=settings.form,
    )
    return _of_ranking(loss)


def _sft(settings: Sft, batch: Batch) -> Result:
    chosen_PR = find_imitated(batch.scores_PR, batch.is_teacher_PR, batch.is_present_PR)
    return sft_loss(batch.logp_sums_PR, batch.lengths_PR, chosen_PR, reduction=settings.ft_reduction), {}


def _raft(settings: Raft, batch: Batch) -> Result:
    loss = raft_loss(
        batch.logp_sums_PR,
        batch.lengths_PR,
        batch.rewards_PR,
        batch.samples_PR,
        batch.is_passed_PR,
        passed_only=settings.passed_only,
        ft_reduction=settings.ft_reduction,
    )
    return loss, {}


def _ssd(settings: Ssd, batch: Batch) -> Result:
    return ssd_loss(batch.logp_sums_PR, batch.lengths_PR, batch.samples_PR, ft_reduction=settings.ft_reduction), {}


def _rrhf(settings: Rrhf, batch: Batch) -> Result:
    loss = rrhf_loss(
        batch.logp_sums_PR,
        batch.lengths_PR,
        batch.scores_PR,
        batch.is_present_PR,
        rank_weight=settings.rank_weight,
        ft_reduction=settings.ft_reduction,
        pair_reduction=settings.pair_reduction,
    )
    return _of_ranking(loss)


def _dpo(settings: Dpo, batch: Batch) -> Result:
    loss = dpo_loss(
        batch.logp_sums_PR,
        batch.reference_logp_sums_PR,
        batch.lengths_PR,
        batch.scores_PR,
        batch.is_teacher_PR,
        batch.is_present_PR,
        beta=settings.beta,
        compared=settings.compared,
        ft_weight=settings.ft_weight,
        ft_reduction=settings.ft_reduction,
    )
    return _of_ranking(loss)


def _grpo(settings: Grpo, batch: Batch) -> Result:
    loss = grpo_loss(
        batch.token_logps_PRS,
        batch.reference_token_logps_PRS,
        batch.lengths_PR,
        batch.rewards_PR,
        _members(batch, teacher=settings.teacher_in_group),
        clip=settings.clip,
        kl_weight=settings.kl_weight,
    )
    return _of_policy(loss)


def _rloo(settings: Rloo, batch: Batch) -> Result:
    members_PR = _members(batch, teacher=settings.teacher_in_group)
    loss = rloo_loss(batch.logp_sums_PR, batch.reference_logp_sums_PR, batch.rewards_PR, members_PR, clip=settings.clip)
    return _of_policy(loss)


def _members(batch: Batch, *, teacher: bool) -> torch.Tensor:
    return batch.samples_PR + (batch.is_teacher_PR & batch.is_present_PR) if teacher else batch.samples_PR


def _of_ranking(loss: RankingLoss) -> Result:
    parts = {"rank": loss.rank.item(), "ft": loss.ft.item(), "pairs": loss.pairs, "active_pairs": loss.active_pairs}
    return loss.total, parts


def _of_policy(loss: PolicyLoss) -> Result:
    return loss.total, {"kl": loss.kl.item(), "clipped_share": loss.clipped_share, "groups": loss.groups}
