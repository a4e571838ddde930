"""The protocol of samplers, and what they all write on a candidate."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from trainer.records import Candidate, Request

type Emit = Callable[[Candidate], None]
"""Hands a candidate on, from any thread and from several at a time; blocks while those who take them are behind."""


class Sampler(Protocol):
    """Answers requests with candidates, in any order, until it is done or `stop` is set."""

    def sample(self, requests: Sequence[Request], emit: Emit, stop: threading.Event) -> None: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Where a response comes from; stands on every candidate."""

    sampler: str
    """Its name and version."""
    model: str
    """The model's revision (trainer.revision)."""

    def candidate(self, request: Request, response: str, *, seed: int, tokens: int, truncated: bool) -> Candidate:
        """The answer to a request; `response` is the text up to the first mark."""
        return Candidate(
            id=request.id,
            task_id=request.task_id,
            completion=response,
            temperature=request.temperature,
            seed=seed,
            tokens=tokens,
            truncated=truncated,
            teacher=request.teacher,
            sampler=self.sampler,
            model=self.model,
        )
