"""Text and tokens: a response is the same text in the tokens that follow a prompt as by itself, with any tokenizer.

And what a model brings along besides: settings that cannot be written again, a template for chats.
"""

import json
import os
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from tests.trainer import small
from trainer import language_model
from trainer.language_model import LanguageModel
from trainer.revision import revision

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


def test_no_end_token_stands_between_prompt_and_response() -> None:
    """Some tokenizers end every text with one."""
    model = small.model()
    wanted = model.prompt_ids(PROMPT)
    end = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", model.end_id)])
    model.tokenizer.backend_tokenizer.post_processor = end
    assert model.tokenizer(PROMPT)["input_ids"][-1] == model.end_id
    assert model.prompt_ids(PROMPT) == wanted


@pytest.mark.parametrize("response", RESPONSES)
def test_a_response_keeps_its_first_space(model: LanguageModel, response: str) -> None:
    """What was sampled behind a prompt is not the beginning of a text."""
    assert model.text(model.response_ids(response)) == response


def test_a_model_whose_settings_are_at_odds_can_be_saved(tmp_path: Path) -> None:
    """Such as a temperature without chance, which transformers reads and does not write. Its end tokens stay."""
    small.model().save(tmp_path)
    settings = tmp_path / "generation_config.json"
    settings.write_text(json.dumps({"do_sample": False, "temperature": 0.6, "eos_token_id": [0, 5]}))
    language_model.load(tmp_path).save(tmp_path / "again")
    assert language_model.load(tmp_path / "again").end_ids == [0, 5]


def test_another_template_makes_another_revision(tmp_path: Path) -> None:
    """It decides what a model for chats is asked, and lies in a file of its own."""
    model = small.model()
    model.save(tmp_path)
    before = revision(tmp_path)
    model.tokenizer.chat_template = "{{ messages[0].content }}"
    model.save(tmp_path)
    assert revision(tmp_path) != before


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_model_without_weights_is_of_its_shape(tmp_path: Path) -> None:
    """Its tensors are those of the model that is loaded, tied where that one's are."""
    small.model().save(tmp_path)
    loaded, empty = language_model.load(tmp_path).network, language_model.without_weights(tmp_path).network
    assert {name: (value.shape, value.dtype) for name, value in empty.state_dict().items()} == {
        name: (value.shape, value.dtype) for name, value in loaded.state_dict().items()
    }
    assert len(list(empty.parameters())) == len(list(loaded.parameters()))


def test_weights_that_nobody_wrote_take_no_memory(tmp_path: Path) -> None:
    """Of 800 MB not a tenth."""
    small.model().save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "hidden_size": 2_000, "vocab_size": 100_000}))
    before = resident_bytes()
    network = language_model.without_weights(tmp_path).network
    assert sum(weight.nbytes for weight in network.parameters()) > 800_000_000
    assert resident_bytes() - before < 80_000_000
