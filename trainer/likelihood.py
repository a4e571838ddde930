"""Log-probabilities of given tokens from hidden states, without ever holding the logits of all of them.

Of a vocabulary of 150,000 tokens the logits are by far the largest tensor of a training step. Here they exist for a few tokens at
a time: the forward pass keeps only each token's log-sum-exp, and the backward pass computes the logits again, chunk by chunk.
Shape letters: M tokens, H hidden size, V vocabulary; C tokens of a chunk.
"""

from collections.abc import Iterator
from typing import Any

import torch

CHUNK_LOGITS = 2**24
"""64 MiB in float32: large enough for matrix products at full speed, small beside what else a step holds."""


def likelihoods(
    hidden_MH: torch.Tensor,
    weight_VH: torch.Tensor,
    bias_V: torch.Tensor | None,
    targets_M: torch.Tensor,
    chunk_logits: int = CHUNK_LOGITS,
) -> torch.Tensor:
    """log softmax(W h + b) at the targets, shape (M,), in float32 or better; products are in the dtype of autocast, if any."""
    device = hidden_MH.device.type
    if torch.is_autocast_enabled(device):
        kind = torch.get_autocast_dtype(device)
        hidden_MH, weight_VH = hidden_MH.to(kind), weight_VH.to(kind)
        bias_V = bias_V.to(kind) if bias_V is not None else None
    with torch.autocast(device, enabled=False):
        found: torch.Tensor = _Likelihoods.apply(hidden_MH, weight_VH, bias_V, targets_M, chunk_logits)  # type: ignore[no-untyped-call] # torch's
    return found


class _Likelihoods(torch.autograd.Function):
    @staticmethod
    def forward(
        context: Any,
        hidden_MH: torch.Tensor,
        weight_VH: torch.Tensor,
        bias_V: torch.Tensor | None,
        targets_M: torch.Tensor,
        chunk_logits: int,
    ) -> torch.Tensor:
        exact = torch.promote_types(hidden_MH.dtype, torch.float32)
        chosen_M, totals_M = (torch.empty(len(targets_M), dtype=exact, device=hidden_MH.device) for _ in range(2))
        for chunk in _chunks(len(targets_M), chunk_logits // len(weight_VH)):
            logits_CV = _logits(hidden_MH[chunk], weight_VH, bias_V)
            chosen_M[chunk] = logits_CV.gather(1, targets_M[chunk, None])[:, 0]
            totals_M[chunk] = logits_CV.logsumexp(dim=1)
        context.save_for_backward(hidden_MH, weight_VH, bias_V, targets_M, totals_M)
        context.chunk_logits = chunk_logits
        return chosen_M - totals_M

    @staticmethod
    def backward(context: Any, slopes_M: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        hidden_MH, weight_VH, bias_V, targets_M, totals_M = context.saved_tensors
        wants_hidden, wants_weight, wants_bias, *_ = context.needs_input_grad
        of_hidden_MH = torch.empty_like(hidden_MH) if wants_hidden else None
        of_weight_VH = torch.zeros_like(weight_VH, dtype=totals_M.dtype) if wants_weight else None
        of_bias_V = torch.zeros_like(bias_V, dtype=totals_M.dtype) if wants_bias else None
        for chunk in _chunks(len(targets_M), context.chunk_logits // len(weight_VH)):
            # d log p_y / d logits = onehot(y) - softmax
            slopes_CV = _logits(hidden_MH[chunk], weight_VH, bias_V).sub_(totals_M[chunk, None]).exp_().neg_()
            slopes_CV.scatter_add_(1, targets_M[chunk, None], torch.ones_like(slopes_CV[:, :1]))
            slopes_CV.mul_(slopes_M[chunk, None])
            if of_bias_V is not None:
                of_bias_V += slopes_CV.sum(dim=0)
            products_CV = slopes_CV.to(hidden_MH.dtype)
            if of_hidden_MH is not None:
                of_hidden_MH[chunk] = products_CV @ weight_VH
            if of_weight_VH is not None:
                _add_product(of_weight_VH, products_CV.T, hidden_MH[chunk])
        return (
            of_hidden_MH,
            of_weight_VH.to(weight_VH.dtype) if of_weight_VH is not None else None,
            of_bias_V.to(bias_V.dtype) if of_bias_V is not None else None,
            None,
            None,
        )


def _logits(hidden_CH: torch.Tensor, weight_VH: torch.Tensor, bias_V: torch.Tensor | None) -> torch.Tensor:
    logits_CV = torch.nn.functional.linear(hidden_CH, weight_VH, bias_V)
    return logits_CV.to(torch.promote_types(logits_CV.dtype, torch.float32))


def _add_product(total: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> None:
    """In the total's dtype: many chunks added in bfloat16 would lose their last ones."""
    if total.dtype == left.dtype:
        total.addmm_(left, right)
    else:
        total += left @ right


def _chunks(tokens: int, of_chunk: int) -> Iterator[slice]:
    size = max(1, of_chunk)
    return (slice(start, start + size) for start in range(0, tokens, size))
