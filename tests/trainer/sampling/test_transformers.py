"""Sampling with transformers: every request answered once, the same again from the same seed, and cut-off rows marked."""

import threading
from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.trainer import small
from trainer.extraction import cut
from trainer.language_model import LanguageModel
from trainer.records import Candidate, Request
from trainer.sampling.sampler import Origin
from trainer.sampling.settings import Sampling
from trainer.sampling.transformers import TransformersSampler

REQUESTS = [
    Request(id=f"{temperature}/{number}", task_id="t", prompt=small.TEXTS[number % 2][:14], temperature=temperature)
    for temperature in (0.0, 1.0)
    for number in range(6)
]


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return small.model()


def sample(
    model: LanguageModel,
    requests: Sequence[Request] = REQUESTS,
    *,
    seed: int = 1,
    stop: threading.Event | None = None,
    **settings: object,
) -> list[Candidate]:
    """Candidates in the order in which they left."""
    left: list[Candidate] = []
    chosen = Sampling.model_validate({"max_response_tokens": 12, "batch_rows": 4, **settings})
    sampler = TransformersSampler(model, chosen, origin=Origin(sampler="transformers", model="small"), seed=seed, stage="test")
    sampler.sample(requests, left.append, stop or threading.Event())
    return left


def test_every_request_is_answered_exactly_once(model: LanguageModel) -> None:
    """Whatever its temperature and batch."""
    assert sorted(candidate.id for candidate in sample(model)) == sorted(request.id for request in REQUESTS)


def test_the_same_seed_samples_the_same(model: LanguageModel) -> None:
    """And another seed something else."""
    assert sample(model) == sample(model)
    assert sample(model) != sample(model, seed=2)


def test_a_static_cache_samples_the_same() -> None:
    """In float64, where nothing is as near to a tie as rounding; with several batches, whose prompts are of different lengths."""
    model = small.model()
    model.network.double()
    static, dynamic = (sample(model, max_response_tokens=24, stop_at=("\n",), cache=cache) for cache in ("static", "dynamic"))
    assert static == dynamic


def test_greedy_rows_of_one_prompt_are_equal(model: LanguageModel) -> None:
    """Temperature 0 leaves nothing to chance."""
    greedy = [c for c in sample(model) if c.temperature == 0 and int(c.id[-1]) % 2 == 0]
    assert len({candidate.completion for candidate in greedy}) == 1


def test_the_settings_that_a_model_brings_along_change_nothing(model: LanguageModel) -> None:
    """All chance is the recipe's, and greedy is greedy; afterwards the model still has them."""
    own = small.model()
    own.network.generation_config.repetition_penalty = 5.0
    own.network.generation_config.min_p = 0.9
    assert sample(own) == sample(model)
    assert own.network.generation_config.repetition_penalty == 5.0


def test_a_response_ends_at_each_of_the_model_s_end_tokens(model: LanguageModel) -> None:
    """Chat models have several, of which the tokenizer knows one."""
    first = next(candidate for candidate in sample(model, stop_at=()) if candidate.temperature == 0)
    own = small.model()
    own.network.generation_config.eos_token_id = [own.end_id, own.tokenizer.encode(first.completion)[0]]
    ended = next(candidate for candidate in sample(own, stop_at=()) if candidate.id == first.id)
    assert (ended.tokens, ended.truncated) == (1, False)


def test_a_row_that_reaches_the_limit_is_marked_truncated(model: LanguageModel) -> None:
    """A model that never learnt to end is cut off."""
    cut_off = [candidate for candidate in sample(model, stop_at=()) if candidate.truncated]
    assert cut_off
    assert all(candidate.tokens == 12 for candidate in cut_off)


def test_a_row_leaves_when_it_ends_and_not_with_its_batch(model: LanguageModel) -> None:
    """The order of leaving is that of ending: within a batch, shorter responses come first."""
    left = sample(model, batch_rows=64, max_response_tokens=40, temperatures=(1.0,))
    hot = [candidate.tokens for candidate in left if candidate.temperature == 1.0]
    assert hot == sorted(hot)


def test_a_stop_ends_the_sampling_early(model: LanguageModel) -> None:
    """Nothing is emitted once the run is being stopped."""
    stop = threading.Event()
    stop.set()
    assert sample(model, stop=stop) == []


def test_whole_programs_end_at_marks_of_their_own(model: LanguageModel) -> None:
    """Beside others of the same batch, which begin a function."""
    greedy = replace(REQUESTS[0], temperature=0.0)
    requests = [replace(greedy, id="function"), replace(greedy, id="program", whole=True)]

    def completions(stop_at: tuple[str, ...], stop_programs_at: tuple[str, ...]) -> dict[str, str]:
        found = sample(model, requests, max_response_tokens=24, stop_at=stop_at, stop_programs_at=stop_programs_at)
        return {candidate.id: candidate.completion for candidate in found}

    whole = completions((), ())["program"]
    first, other = whole[0], next(character for character in whole if character != whole[0])
    found = completions((first,), (other,))
    assert found == {"function": cut(whole, (first,))[0], "program": cut(whole, (other,))[0]}
    assert found["function"] != found["program"]
