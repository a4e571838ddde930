"""What one replica answers in one go."""

from dataclasses import replace

import pytest

from trainer.records import Request
from trainer.sampling.settings import Sampling
from trainer.sampling.shares import at_once, shares
from trainer.sampling.transformers import batches

SETTINGS = Sampling(batch_rows=4)
REQUESTS = [
    Request(id=f"{temperature}/{n}", task_id="t", prompt="x" * (n % 7), temperature=temperature)
    for temperature in (0.4, 1.0)
    for n in range(21)
]


@pytest.mark.parametrize("sampler", ["transformers", "vllm"])
def test_every_request_without_a_candidate_is_in_one_share(sampler: str) -> None:
    """And no other; there are no empty ones."""
    requests = [replace(request, sampled=n % 3 == 0 or n < 12) for n, request in enumerate(REQUESTS)]
    found = shares(requests, sampler, SETTINGS)
    assert sorted(r.id for share in found for r in share) == sorted(r.id for r in requests if not r.sampled)
    assert all(found)


def test_a_share_of_transformers_is_a_batch() -> None:
    """Since its rows draw from one generator."""
    assert shares(REQUESTS, "transformers", SETTINGS) == list(batches(REQUESTS, SETTINGS.batch_rows))


@pytest.mark.parametrize("requests_at_once", [1, 15, 256])
def test_an_engine_of_vllm_always_has_more_to_do_than_it_can(requests_at_once: int) -> None:
    """The shares that one replica has under way hold at least twice as many requests as it computes at a time."""
    [largest, *_] = shares([replace(REQUESTS[0], id=str(n)) for n in range(100)], "vllm", SETTINGS)
    assert at_once("vllm", requests_at_once) * len(largest) >= 2 * requests_at_once
