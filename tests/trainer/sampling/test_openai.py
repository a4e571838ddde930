"""Sampling from servers over real HTTP: prompts as in training, every request answered once, seeds, several addresses."""

import threading
from collections.abc import Iterator

import pytest

from tests.trainer import small
from tests.trainer.sampling.completions_server import CompletionsServer, Failure, serving
from trainer.errors import SamplerError
from trainer.records import Candidate, Request
from trainer.sampling.openai import OpenAISampler
from trainer.sampling.sampler import Origin
from trainer.sampling.settings import Ask, Sampling, Server
from trainer.sampling.transformers import TransformersSampler

MODEL = small.model()
ORIGIN = Origin(sampler="openai", model="small")
REQUESTS = [
    Request(id=f"{temperature}/{number}", task_id="t", prompt=small.TEXTS[number % 2][:14], temperature=temperature)
    for temperature in (0.0, 1.0)
    for number in range(4)
]


@pytest.fixture
def server() -> Iterator[CompletionsServer]:
    with serving(CompletionsServer(MODEL, says="Sure:\n```python\ndef solve(x):\n    return x\n```\n")) as found:
        yield found


def sampler(*servers: CompletionsServer, ask: Ask = "tokens", seed: int = 1, model: str = "") -> OpenAISampler:
    chosen = Sampling(max_response_tokens=12, stop_at=())
    where = Server(addresses=tuple(s.address for s in servers), model=model, requests_at_once=3, retry_ms=20_000)
    options = {"origin": ORIGIN, "seed": seed, "stage": "test", "tokens_of": MODEL.prompt_ids}
    return OpenAISampler(where, chosen, ask=ask, section="openai", **options)  # type: ignore[arg-type]  # one dict, many types


def sample(chosen: OpenAISampler | TransformersSampler, stop: threading.Event | None = None) -> dict[str, Candidate]:
    left: list[Candidate] = []
    chosen.sample(REQUESTS, left.append, stop or threading.Event())
    assert len({candidate.id for candidate in left}) == len(left)
    return {candidate.id: candidate for candidate in left}


def test_every_request_is_answered_once(server: CompletionsServer) -> None:
    """One call for each."""
    assert set(sample(sampler(server))) == {request.id for request in REQUESTS}
    assert len(server.requests) == len(REQUESTS)


def test_prompts_are_the_tokens_of_the_training(server: CompletionsServer) -> None:
    """Not what another tokenizer would make of the text."""
    sample(sampler(server))
    assert {tuple(body["prompt"]) for body in server.requests} == {tuple(MODEL.prompt_ids(r.prompt)) for r in REQUESTS}


def test_prompts_can_go_as_text(server: CompletionsServer) -> None:
    """For servers that take no tokens."""
    sample(sampler(server, ask="text"))
    assert {body["prompt"] for body in server.requests} == {request.prompt for request in REQUESTS}


def test_greedy_candidates_equal_those_of_transformers(server: CompletionsServer) -> None:
    """Text, number of tokens, and whether they were cut off."""
    settings = Sampling(max_response_tokens=12, stop_at=())
    here = sample(TransformersSampler(MODEL, settings, origin=ORIGIN, seed=1, stage="test"))
    there = sample(sampler(server))
    greedy = [request.id for request in REQUESTS if request.temperature == 0]
    assert [(there[i].completion, there[i].tokens, there[i].truncated) for i in greedy] == [
        (here[i].completion, here[i].tokens, here[i].truncated) for i in greedy
    ]


def test_the_same_seed_samples_the_same(server: CompletionsServer) -> None:
    """Each request has a seed of its own, which its candidate keeps; another seed samples something else."""
    first = sample(sampler(server))
    assert sample(sampler(server)) == first
    assert sample(sampler(server, seed=2)) != first
    assert len({candidate.seed for candidate in first.values()}) == len(REQUESTS)


def test_the_settings_of_a_model_on_the_server_change_nothing(server: CompletionsServer) -> None:
    """All chance is the recipe's."""
    with serving(CompletionsServer(MODEL, top_k=1)) as own:
        assert sample(sampler(own)) == sample(sampler(server))


def test_a_candidate_says_where_it_comes_from(server: CompletionsServer) -> None:
    """Sampler and model stand on each."""
    assert {(c.sampler, c.model) for c in sample(sampler(server)).values()} == {("openai", "small")}


def test_a_chat_is_sent_as_a_message(server: CompletionsServer) -> None:
    """And what comes back is kept whole: finding the code in it is not the sampler's."""
    found = sample(sampler(server, ask="chat"))
    assert {candidate.completion for candidate in found.values()} == {server.says}
    assert server.requests[0]["messages"] == [{"role": "user", "content": REQUESTS[0].prompt}]


def test_requests_are_spread_over_the_addresses(server: CompletionsServer) -> None:
    """Each gets its share."""
    with serving(CompletionsServer(MODEL)) as other:
        sample(sampler(server, other))
        assert min(len(server.requests), len(other.requests)) >= 2


def test_an_address_that_is_gone_costs_nothing_but_its_share(server: CompletionsServer) -> None:
    """Its requests are answered by the others."""
    with serving(CompletionsServer(MODEL)) as other:
        other.failures.extend([Failure(status=0)] * 100)
        assert len(sample(sampler(server, other))) == len(REQUESTS)


def test_failures_that_pass_are_outlived(server: CompletionsServer) -> None:
    """Throttling, an error of the server and a broken connection, and the candidates are those of a quiet server."""
    quiet = sample(sampler(server))
    soon = {"Retry-After": "0"}
    server.failures.extend([Failure(status=429, headers=soon), Failure(status=503, headers=soon), Failure(status=0)])
    assert sample(sampler(server)) == quiet


def test_a_request_that_is_refused_for_good_ends_the_sampling(server: CompletionsServer) -> None:
    """With the server's words, in one line."""
    server.failures.append(Failure(status=400, message="max_tokens is\ntoo large"))
    with pytest.raises(SamplerError, match="answers 400: max_tokens is too large"):
        sample(sampler(server))


def test_a_stop_ends_the_sampling_early(server: CompletionsServer) -> None:
    """Nothing is asked once the run is being stopped."""
    stop = threading.Event()
    stop.set()
    assert sample(sampler(server), stop) == {}
    assert server.requests == []


def test_a_model_that_is_not_served_is_named(server: CompletionsServer) -> None:
    """With those that are."""
    with pytest.raises(SamplerError, match=r"openai\.model: .* serves tiny; 'other' is not among them"):
        sample(sampler(server, model="other"))
