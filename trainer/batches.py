"""Rows of tokens for a forward pass: prompts end, and responses begin, in the same column.

    pad pad  p  p  p | r  r  r  r end
    pad  p   p  p  p | r  r end pad pad
     p   p   p  p  p | r end pad pad pad

So the logits of the last columns are all that the losses need. Shape letters: N rows, T columns, S response columns.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from trainer.language_model import LanguageModel

_POOL_BATCHES = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows:
    """Padded prompt and response pairs, one a row."""

    tokens_NT: torch.Tensor
    attended_NT: torch.Tensor
    responses_NS: torch.Tensor
    """The response tokens, the end token included."""
    counted_NS: torch.Tensor
    """1.0 where `responses_NS` holds a token of the response, 0.0 where it is padding."""


def pad_rows(model: LanguageModel, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> Rows:
    """Rows of (prompt ids, response ids), on the model's device."""
    prompt_columns = max(len(prompt) for prompt, _ in pairs)
    response_columns = max(len(response) for _, response in pairs)
    tokens = torch.full((len(pairs), prompt_columns + response_columns), model.pad_id)
    attended = torch.zeros_like(tokens)
    for row, (prompt, response) in enumerate(pairs):
        first, last = prompt_columns - len(prompt), prompt_columns + len(response)
        tokens[row, first:last] = torch.tensor([*prompt, *response])
        attended[row, first:last] = 1
    tokens, attended = tokens.to(model.device), attended.to(model.device)
    return Rows(
        tokens_NT=tokens,
        attended_NT=attended,
        responses_NS=tokens[:, prompt_columns:],
        counted_NS=attended[:, prompt_columns:].float(),
    )


def shuffled_by_length[Item](
    items: Sequence[Item], batch_items: int, length: Callable[[Item], int], rng: random.Random
) -> Iterator[list[Item]]:
    """All items once, in batches of similar length, in random order: little padding and little bias."""
    order = list(items)
    rng.shuffle(order)
    pool = batch_items * _POOL_BATCHES
    batches: list[list[Item]] = []
    for start in range(0, len(order), pool):
        near = sorted(order[start : start + pool], key=length)
        batches += [near[i : i + batch_items] for i in range(0, len(near), batch_items)]
    rng.shuffle(batches)
    yield from batches
