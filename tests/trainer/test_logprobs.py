"""Log-probabilities of responses: the right tokens, the right divisor, and no influence of padding."""

import pytest
import torch

from tests.trainer import small
from trainer.batches import pad_rows
from trainer.language_model import LanguageModel
from trainer.logprobs import token_logprobs

PAIRS = [([5, 6, 7, 8, 9], [10, 11, 0]), ([5], [12, 13, 14, 15, 16, 0]), ([7, 8], [0])]


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return small.model()


def one_by_one(model: LanguageModel, prompt: list[int], response: list[int]) -> float:
    """The plain definition: sum over t of log P(y_t | x, y_<t), without any padding."""
    logits_TV = model.network(torch.tensor([prompt + response])).logits[0]
    log_TV = logits_TV.log_softmax(dim=-1)
    return float(sum(log_TV[len(prompt) + t - 1, token].item() for t, token in enumerate(response)))


def test_sums_equal_the_plain_definition(model: LanguageModel) -> None:
    """Padded left and right in one batch, as computed row by row without padding."""
    sums_N = token_logprobs(model, pad_rows(model, PAIRS))[0].sum(dim=1)
    assert sums_N.tolist() == pytest.approx([one_by_one(model, *pair) for pair in PAIRS], rel=1e-4)


def test_the_divisor_is_the_number_of_response_tokens_of_that_response(model: LanguageModel) -> None:
    """Neither prompt, padding nor neighbours count, and the labels are left alone: asked twice, the same answer."""
    rows = pad_rows(model, PAIRS)
    assert token_logprobs(model, rows)[1].tolist() == [3, 6, 1]
    assert token_logprobs(model, rows)[1].tolist() == [3, 6, 1]


def test_padding_changes_nothing(model: LanguageModel) -> None:
    """A row alone and beside longer ones."""
    together_NS, _ = token_logprobs(model, pad_rows(model, PAIRS))
    alone_NS, _ = token_logprobs(model, pad_rows(model, PAIRS[2:]))
    assert together_NS[2].tolist() == pytest.approx([alone_NS[0].item(), 0, 0, 0, 0, 0], rel=1e-4)


def test_every_row_counts(model: LanguageModel) -> None:
    """The gradient of each row's sum depends on that row's own tokens: no row stands in for another."""
    sums_N = token_logprobs(model, pad_rows(model, PAIRS))[0].sum(dim=1)
    assert len({round(value, 4) for value in sums_N.tolist()}) == len(PAIRS)
