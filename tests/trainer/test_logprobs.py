"""Log-probabilities of responses: the right tokens, the right divisor, and no influence of their company."""

import pytest
import torch

from tests.trainer import small
from trainer.language_model import LanguageModel
from trainer.logprobs import token_logprobs
from trainer.packing import Prompted

PROMPTS = [
    Prompted(prompt=[5, 6, 7, 8, 9], responses=[[10, 11, 0], [4, 0]]),
    Prompted(prompt=[5], responses=[[12, 13, 14, 15, 16, 0]]),
    Prompted(prompt=[7, 8], responses=[[0]]),
]


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return small.model()


def one_by_one(model: LanguageModel, prompt: list[int], response: list[int]) -> float:
    """The plain definition: sum over t of log P(y_t | x, y_<t), one sequence at a time."""
    logits_TV = model.network(torch.tensor([prompt + response])).logits[0]
    log_TV = logits_TV.log_softmax(dim=-1)
    return float(sum(log_TV[len(prompt) + t - 1, token].item() for t, token in enumerate(response)))


def test_sums_equal_the_plain_definition(model: LanguageModel) -> None:
    """All prompts together, as computed response by response."""
    sums_N = token_logprobs(model, PROMPTS)[0].sum(dim=1)
    wanted = [one_by_one(model, list(p.prompt), list(response)) for p in PROMPTS for response in p.responses]
    assert sums_N.tolist() == pytest.approx(wanted, rel=1e-4)


def test_the_divisor_is_the_number_of_response_tokens_of_that_response(model: LanguageModel) -> None:
    """Neither prompt nor neighbours count, and the labels are left alone: asked twice, the same answer."""
    assert token_logprobs(model, PROMPTS)[1].tolist() == [3, 2, 6, 1]
    assert token_logprobs(model, PROMPTS)[1].tolist() == [3, 2, 6, 1]


def test_company_changes_nothing(model: LanguageModel) -> None:
    """A prompt alone and beside others; its column goes on with zeros."""
    together_NS, _ = token_logprobs(model, PROMPTS)
    alone_NS, _ = token_logprobs(model, PROMPTS[2:])
    assert together_NS[3].tolist() == pytest.approx([alone_NS[0].item(), 0, 0, 0, 0, 0], rel=1e-4)


def test_every_response_counts(model: LanguageModel) -> None:
    """Each sum depends on that response's own tokens: no row stands in for another."""
    sums_N = token_logprobs(model, PROMPTS)[0].sum(dim=1)
    assert len({round(value, 4) for value in sums_N.tolist()}) == len(sums_N)
