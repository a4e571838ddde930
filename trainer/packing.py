"""Prompts and their responses as the tokens of a forward pass, with the places from which each response token is predicted.

Two ways, with one result. Packed: one row, each prompt once, every response after it with positions that go on where the prompt
ends (see trainer.attention). Padded: a row for each response, its prompt before it; for networks that cannot do the former. The
last token of a response predicts nothing that counts, so it is left out of both.
Shape letters: B rows, T columns; M response tokens of all responses, one response after the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn.utils.rnn import pad_sequence

from trainer.attention import Layout, Span


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompted:
    """A prompt with its responses as token ids; the end token is part of a response."""

    prompt: Sequence[int]
    responses: Sequence[Sequence[int]]

    @property
    def tokens(self) -> int:
        """What it adds to a packed row."""
        return len(self.prompt) + sum(len(response) - 1 for response in self.responses)

    @property
    def padded_tokens(self) -> int:
        """What its padded rows hold."""
        return len(self.responses) * (len(self.prompt) + max(map(len, self.responses)) - 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Inputs:
    """What a network computes on: with a layout a packed row, with `attended_BT` padded ones."""

    tokens_BT: torch.Tensor
    positions_BT: torch.Tensor
    sources_M: torch.Tensor
    """Where each response token is predicted: an index into the flattened B x T places."""
    targets_M: torch.Tensor
    """The response tokens."""
    layout: Layout | None = None
    attended_BT: torch.Tensor | None = None


def pack(prompts: Sequence[Prompted], device: torch.device) -> Inputs:
    """All prompts in one row."""
    tokens: list[int] = []
    positions: list[int] = []
    sources: list[int] = []
    for prompted in prompts:
        last = len(tokens) + len(prompted.prompt) - 1
        tokens += prompted.prompt
        positions += range(len(prompted.prompt))
        for response in prompted.responses:
            sources += [last, *range(len(tokens), len(tokens) + len(response) - 1)]
            tokens += response[:-1]
            positions += range(len(prompted.prompt), len(prompted.prompt) + len(response) - 1)
    spans = [Span(prompt=len(p.prompt), responses=tuple(len(r) - 1 for r in p.responses if len(r) > 1)) for p in prompts]
    return Inputs(
        tokens_BT=torch.tensor([tokens], device=device),
        positions_BT=torch.tensor([positions], device=device),
        sources_M=torch.tensor(sources, device=device),
        targets_M=_targets(prompts, device),
        layout=Layout(spans=tuple(spans), device=device),
    )


def pad(prompts: Sequence[Prompted], device: torch.device) -> Inputs:
    """A row for each response, filled up on the right, where no token that counts can see it."""
    rows = [[*p.prompt, *response[:-1]] for p in prompts for response in p.responses]
    attended_BT = pad_sequence([torch.ones(len(row), dtype=torch.long) for row in rows], batch_first=True)
    columns = attended_BT.shape[1]
    firsts = [len(p.prompt) - 1 for p in prompts for _ in p.responses]
    sources = [row * columns + column for row, first in enumerate(firsts) for column in range(first, len(rows[row]))]
    return Inputs(
        tokens_BT=pad_sequence([torch.tensor(row) for row in rows], batch_first=True).to(device),
        positions_BT=torch.arange(columns, device=device).expand(len(rows), -1),
        sources_M=torch.tensor(sources, device=device),
        targets_M=_targets(prompts, device),
        attended_BT=attended_BT.to(device),
    )


def _targets(prompts: Sequence[Prompted], device: torch.device) -> torch.Tensor:
    return torch.tensor([token for p in prompts for response in p.responses for token in response], device=device)
