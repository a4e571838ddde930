"""Which items make a batch, which of those are computed together, and prompts as padded rows for a sampler.

    pad pad  p  p  p
    pad  p   p  p  p      prompts end in the same column, so that responses begin in the next one
     p   p   p  p  p

Shape letters: N rows, T columns.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from trainer.language_model import LanguageModel

_POOL_BATCHES = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows:
    """Padded prompts, one a row."""

    tokens_NT: torch.Tensor
    attended_NT: torch.Tensor


def pad_prompts(model: LanguageModel, prompts: Sequence[Sequence[int]]) -> Rows:
    """Prompts as ids, on the model's device."""
    columns = max(len(prompt) for prompt in prompts)
    tokens = torch.full((len(prompts), columns), model.pad_id)
    attended = torch.zeros_like(tokens)
    for row, prompt in enumerate(prompts):
        tokens[row, columns - len(prompt) :] = torch.tensor(prompt)
        attended[row, columns - len(prompt) :] = 1
    return Rows(tokens_NT=tokens.to(model.device), attended_NT=attended.to(model.device))


def in_parts(sizes: Sequence[int], most: int) -> list[list[int]]:
    """Indices of items in order, in parts whose sizes sum up to at most `most`; a larger item is a part of its own."""
    parts: list[list[int]] = []
    room = 0
    for index, size in enumerate(sizes):
        if not parts or size > room:
            parts.append([])
            room = most
        parts[-1].append(index)
        room -= size
    return parts


def deal(sizes: Sequence[int], most: int, hands: int) -> list[list[list[int]]]:
    """For each hand the parts (see `in_parts`) of its share of the items: shares of about equal size, as many parts for each.

    A hand with less to do ends with empty parts.
    """
    held: list[list[int]] = [[] for _ in range(hands)]
    for index in sorted(range(len(sizes)), key=lambda index: -sizes[index]):
        min(held, key=lambda share: sum(sizes[i] for i in share)).append(index)
    parts = [[[share[i] for i in part] for part in in_parts([sizes[i] for i in share], most)] for share in map(sorted, held)]
    longest = max(len(of_hand) for of_hand in parts)
    return [of_hand + [[] for _ in range(longest - len(of_hand))] for of_hand in parts]


def is_dealt(hands: Sequence[Sequence[Sequence[int]]], items: int) -> bool:
    """Whether every item is in one part of one hand, and every hand has as many parts."""
    held = sorted(index for parts in hands for part in parts for index in part)
    return held == list(range(items)) and len({len(parts) for parts in hands}) == 1


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
