"""Text and tokens: a response is the same text in the tokens that follow a prompt as by itself, with any tokenizer."""

import pytest
from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from tests.trainer import small
from trainer.language_model import LanguageModel

PROMPT = "def solve(x):\n"
RESPONSES = ("    return x + 1\n", "return x\n", "\n    return x", "  # nothing", "")


def like_sentencepiece(begins: str) -> PreTrainedTokenizerFast:
    """As Llama 2 and its kin have it: a text begins with a space that decoding takes away; two ways to say that are in use."""
    pieces = [*(f"<0x{byte:02X}>" for byte in range(256)), "▁", *"(+)1:definorstuvlx", "▁▁", "▁▁▁▁", "re", "▁re"]
    merges = [("▁", "▁"), ("▁▁", "▁▁"), ("r", "e"), ("▁", "re")]
    tokenizer = Tokenizer(BPE({piece: number for number, piece in enumerate(pieces)}, merges, byte_fallback=True))
    if begins == "prepended":
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    strip = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(strip)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>")


@pytest.fixture(params=["byte level", "prepended", "metaspace"])
def model(request: pytest.FixtureRequest) -> LanguageModel:
    made = small.model()
    if request.param != "byte level":
        made.tokenizer = like_sentencepiece(request.param)
    return made


@pytest.mark.parametrize("response", RESPONSES)
def test_prompt_and_response_are_the_text_of_both(model: LanguageModel, response: str) -> None:
    """No space comes in between, which would be one too many in front of an indented line."""
    ids = [*model.prompt_ids(PROMPT), *model.response_ids(response)]
    assert model.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False) == PROMPT + response


@pytest.mark.parametrize("response", RESPONSES)
def test_a_response_keeps_its_first_space(model: LanguageModel, response: str) -> None:
    """What was sampled behind a prompt is not the beginning of a text."""
    assert model.text(model.response_ids(response)) == response
