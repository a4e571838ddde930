"""How a stage's requests are shared out among replicas: pure decisions.

A share is what one replica answers in one go, and what goes to another one where it dies. It has to be of a kind that makes no
difference to the samples: a whole batch with transformers, whose rows draw from one generator; any requests with vLLM, where each
has a seed of its own. These lie next to each other, so that most responses to one prompt find what was computed of it.
"""

from collections.abc import Iterator, Sequence

from trainer.records import Request
from trainer.sampling.settings import Sampling
from trainer.sampling.transformers import batches

_AT_A_TIME = 16
"""Requests of one share with vLLM."""


def shares(requests: Sequence[Request], sampler: str, settings: Sampling) -> list[list[Request]]:
    """The requests without a candidate; `sampler` is what each replica holds."""
    found = batches(requests, settings.batch_rows) if sampler == "transformers" else _neighbours(requests)
    unanswered = ([request for request in share if not request.sampled] for share in found)
    return [share for share in unanswered if share]


def at_once(sampler: str, requests_at_once: int) -> int:
    """Shares that one replica may have under way.

    With vLLM twice as many as it computes at a time: the last ones of a share leave no gap, since others wait in its line.
    """
    return 1 if sampler == "transformers" else -(-2 * requests_at_once // _AT_A_TIME)


def _neighbours(requests: Sequence[Request]) -> Iterator[Sequence[Request]]:
    unanswered = [request for request in requests if not request.sampled]
    for start in range(0, len(unanswered), _AT_A_TIME):
        yield unanswered[start : start + _AT_A_TIME]
