"""Attention in which the responses to one prompt share the prompt: each sees the prompt and itself, and no other response.

    p p p | a a | b b b | q q | c c c c      one row, nothing but tokens: prompt p with responses a and b, prompt q with c

Registered with transformers under two names, since two kernels can do it. A call that brings a layout attends as above; any
other call, sampling among them, is plain SDPA. FLEX is FlexAttention with a block mask, for GPUs: on a CPU it has no gradients.
SDPA works everywhere and takes two calls for each prompt: the prompt's own, and one whose rows are the responses, with the
prompt's keys before theirs. Only the latter pads.
Shape letters: T tokens, H heads, D numbers of a head; N responses of a prompt, L tokens of the longest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch.nn.attention.flex_attention import BlockMask, create_block_mask
from torch.nn.functional import scaled_dot_product_attention
from torch.nn.utils.rnn import pad_sequence
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.flex_attention import flex_attention_forward
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

FLEX, SDPA = "shared_prefix_flex", "shared_prefix_sdpa"


def kernels(device: torch.device) -> Sequence[str]:
    """Those that can train on the device, the better one first."""
    return (SDPA,) if device.type == "cpu" else (FLEX, SDPA)


@dataclass(frozen=True, kw_only=True)
class Span:
    """How many tokens a prompt and its responses have; they lie one after the other."""

    prompt: int
    responses: tuple[int, ...]

    @property
    def tokens(self) -> int:
        return self.prompt + sum(self.responses)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What lies where in a row."""

    spans: tuple[Span, ...]
    device: torch.device

    @cached_property
    def block_mask(self) -> BlockMask:
        """Which blocks of keys each block of queries needs, for FlexAttention."""
        prompt_T, part_T = self._owners()

        def sees(batch: Any, head: Any, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
            of_itself = (part_T[key] == 0) | (part_T[key] == part_T[query])
            return (prompt_T[key] == prompt_T[query]) & of_itself & (key <= query)

        tokens = len(part_T)
        return create_block_mask(sees, None, None, tokens, tokens, device=self.device, _compile=self.device.type == "cuda")

    def _owners(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Of each token the number of its prompt, and which of the prompt's responses it belongs to: 0 is the prompt itself."""
        prompts = [number for number, span in enumerate(self.spans) for _ in range(span.tokens)]
        parts = [part for span in self.spans for part, length in enumerate((span.prompt, *span.responses)) for _ in range(length)]
        return torch.tensor(prompts, device=self.device), torch.tensor(parts, device=self.device)


def attend_by_flex(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    shared_prefix: Layout | None = None,
    **others: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Queries of shape (1, H, T, D), keys and values alike or with fewer heads; the result has shape (1, T, H, D)."""
    if shared_prefix is None or dropout:  # which FlexAttention does not know
        return attend_by_sdpa(module, query, key, value, attention_mask, scaling, dropout, shared_prefix, **others)
    mask: Any = shared_prefix.block_mask
    return flex_attention_forward(module, query, key, value, mask, scaling=scaling, **others)


def attend_by_sdpa(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    shared_prefix: Layout | None = None,
    **others: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Queries of shape (1, H, T, D), keys and values alike or with fewer heads; the result has shape (1, T, H, D)."""
    if shared_prefix is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, dropout=dropout, **others)
    heads = query.shape[1] // key.shape[1]
    query_THD, key_THD, value_THD = (states[0].transpose(0, 1) for states in (query, key, value))
    parts, first = [], 0
    for span in shared_prefix.spans:
        own = slice(first, first := first + span.tokens)
        keys, values = (states[own].repeat_interleave(heads, dim=1) for states in (key_THD, value_THD))
        parts += _attend_to_one(span, query_THD[own], keys, values, scaling, dropout)
    return torch.cat(parts)[None], None


def _attend_to_one(
    span: Span,
    query_THD: torch.Tensor,
    key_THD: torch.Tensor,
    value_THD: torch.Tensor,
    scale: float | None,
    dropout: float,
) -> list[torch.Tensor]:
    """The prompt's tokens, then those of each response, shape (tokens, H, D) each."""

    def of_prompt(states_THD: torch.Tensor) -> torch.Tensor:
        return states_THD[: span.prompt].transpose(0, 1)[None]

    def of_responses(states_THD: torch.Tensor) -> torch.Tensor:
        return pad_sequence(list(states_THD[span.prompt :].split(span.responses)), batch_first=True).transpose(1, 2)

    def of_both(states_THD: torch.Tensor) -> torch.Tensor:
        own_NHLD = of_responses(states_THD)
        return torch.cat([of_prompt(states_THD).expand(len(own_NHLD), -1, -1, -1), own_NHLD], dim=2)

    prompt = scaled_dot_product_attention(
        of_prompt(query_THD), of_prompt(key_THD), of_prompt(value_THD), dropout_p=dropout, is_causal=True, scale=scale
    )
    if not span.responses:
        return [prompt[0].transpose(0, 1)]
    query_NHLD = of_responses(query_THD)
    longest = query_NHLD.shape[2]
    is_seen = torch.ones(longest, span.prompt + longest, dtype=torch.bool, device=query_NHLD.device).tril(span.prompt)
    found_NHLD = scaled_dot_product_attention(
        query_NHLD, of_both(key_THD), of_both(value_THD), attn_mask=is_seen, dropout_p=dropout, scale=scale
    )
    rows = zip(found_NHLD.transpose(1, 2), span.responses, strict=True)
    return [prompt[0].transpose(0, 1), *(row[:length] for row, length in rows)]


for _name, _attend in ((FLEX, attend_by_flex), (SDPA, attend_by_sdpa)):
    AttentionInterface.register(_name, _attend)
    AttentionMaskInterface.register(_name, sdpa_mask)
