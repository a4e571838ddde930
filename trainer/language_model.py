"""The model and its tokenizer, new or from Hugging Face, and how text becomes tokens.

A prompt is tokenized as the tokenizer likes it; a response without special tokens, followed by one end token. The two are joined
as tokens and never as text, so sampling and training see the same prompt tokens. A response is never the beginning of a text:
tokenizers like Llama 2's put a space there and take one away, which in Python is one too many or too few.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers.models import BPE
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)
from transformers.utils.logging import disable_progress_bar

from trainer import model_source
from trainer.errors import ModelError
from trainer.recipe import Model

END, PAD = "<|end|>", "<|pad|>"
_BEFORE = ("\n", "a")
"""What a response is put behind, the first that keeps its own tokens there. The last one is never told by its bytes."""


@dataclass(kw_only=True)
class LanguageModel:
    """A causal LM with its tokenizer, on its device."""

    network: Any
    tokenizer: Any
    adapters: Any = None
    """While low-rank adapters are trained: peft's handle on them; trainer.lora puts them in."""
    scorer: Any = None
    """What turns the network's outputs into log-probabilities; trainer.logprobs makes it when it is first needed."""

    @property
    def device(self) -> torch.device:
        device: torch.device = self.network.device
        return device

    @property
    def end_id(self) -> int:
        return int(self.tokenizer.eos_token_id)

    @property
    def end_ids(self) -> list[int]:
        """Every token that ends a response when it is sampled: the model may know more than the tokenizer's, for chats."""
        own = self.network.generation_config.eos_token_id
        return sorted({self.end_id, *(own if isinstance(own, list) else [] if own is None else [own])})

    @property
    def pad_id(self) -> int:
        return int(self.tokenizer.pad_token_id)

    def prompt_ids(self, prompt: str) -> list[int]:
        return prompt_ids(self.tokenizer, prompt)

    def response_ids(self, response: str) -> list[int]:
        return [*response_ids(self.tokenizer, response), self.end_id]

    def text(self, ids: Sequence[int]) -> str:
        return text(self.tokenizer, ids)

    def save(self, folder: Path) -> None:
        """Hugging Face format, tokenizer included."""
        disable_progress_bar()
        self.network.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


def prompt_ids(tokenizer: Any, prompt: str) -> list[int]:
    """A prompt as tokens, which a response follows: without the end token that some tokenizers add.

    The text of a chat template brings its first token along: it is not added twice.
    """
    ids, first, end = list(tokenizer(prompt)["input_ids"]), tokenizer.bos_token_id, tokenizer.eos_token_id
    if ids[-1:] == [end] and not prompt.endswith(tokenizer.eos_token):
        ids.pop()
    return ids[1:] if first is not None and ids[:2] == [first, first] else ids


def response_ids(tokenizer: Any, response: str) -> list[int]:
    """A response as tokens that follow a prompt, without an end token."""
    ids = _ids(tokenizer, response)
    if not _begins_with_a_space(tokenizer):
        return ids
    behind = ((_ids(tokenizer, before), _ids(tokenizer, before + response)) for before in _BEFORE)
    return next((both[len(before) :] for before, both in behind if both[: len(before)] == before), ids)


def text(tokenizer: Any, ids: Sequence[int]) -> str:
    """Tokens of a response as text, without special ones."""
    before = _ids(tokenizer, _BEFORE[-1])
    return _decode(tokenizer, [*before, *ids]).removeprefix(_decode(tokenizer, before))


def new(settings: Model, texts: Sequence[str], seed: int, device: str = "cpu") -> LanguageModel:
    """A small Llama with random weights and a byte-level BPE tokenizer trained on `texts`."""
    torch.manual_seed(seed)
    tokenizer = _train_tokenizer(texts, settings.vocabulary_tokens)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=settings.width,
        intermediate_size=settings.width * 3,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        max_position_embeddings=settings.context_tokens,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    network: Any = LlamaForCausalLM(config)
    return LanguageModel(network=network.to(_resolve(device)), tokenizer=tokenizer)


def load(path: str | Path, dtype: str = "float32", device: str = "cpu", key: str = "model.path") -> LanguageModel:
    """The model and tokenizer at a local path or hub id.

    Raises ModelError in one line, which names the setting `key`, where there is no such model.
    """
    disable_progress_bar()
    tokenizer = look(path, key)
    try:
        network: Any = AutoModelForCausalLM.from_pretrained(path, dtype=getattr(torch, dtype))
    except (OSError, ValueError) as error:
        raise _no_model(path, error, key) from error
    network.generation_config = _writable(network.generation_config)
    return LanguageModel(network=network.to(_resolve(device)), tokenizer=tokenizer)


def without_weights(path: str | Path, dtype: str = "float32") -> LanguageModel:
    """The model at a path with weights that nobody has written: memory that is taken only as they are. Raises ModelError."""
    tokenizer = look(path)
    with torch.device("meta"):
        network: Any = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(path), dtype=getattr(torch, dtype))
    network.to_empty(device="cpu")
    network.tie_weights()
    return LanguageModel(network=network, tokenizer=tokenizer)


def look(path: str | Path, key: str = "model.path") -> Any:
    """The tokenizer at a path, once it is known that there is a model as well: quick, loads no weights. Raises ModelError."""
    model_source.check(str(path), key)
    try:
        AutoConfig.from_pretrained(path)
        tokenizer = AutoTokenizer.from_pretrained(path)
    except (OSError, ValueError) as error:
        raise _no_model(path, error, key) from error
    if tokenizer.eos_token_id is None:
        raise ModelError(f"{key}: the tokenizer at {str(path)!r} has no end token, so no response could end")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    for how_it_was_loaded in ("is_local", "local_files_only"):  # would be saved with it, as if it were another tokenizer
        tokenizer.init_kwargs.pop(how_it_was_loaded, None)
    return tokenizer


def context_tokens(path: str | Path) -> int | None:
    """How many tokens the model at a path takes at once, or None where it has no such limit."""
    config = AutoConfig.from_pretrained(path).get_text_config()
    found = getattr(config, "max_position_embeddings", None)
    return int(found) if found and found > 0 else None


def check_device(device: str, key: str = "run.device") -> None:
    """Computes something on the device. Raises ModelError, which names the setting `key`, where that fails."""
    try:
        torch.zeros(1, device=_resolve(device)).item()
    except (RuntimeError, AssertionError) as error:  # the second: torch was built without CUDA
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ModelError(
            f"{key}: torch cannot compute on {device!r} ({reason}); set it to auto or cpu, or to a GPU of this machine"
        ) from error


@lru_cache(maxsize=16)
def _begins_with_a_space(tokenizer: Any) -> bool:
    """Whether it puts a space in front of every text."""
    return text(tokenizer, _ids(tokenizer, _BEFORE[-1])) != _BEFORE[-1]


def _ids(tokenizer: Any, words: str) -> list[int]:
    return list(tokenizer(words, add_special_tokens=False)["input_ids"])


def _decode(tokenizer: Any, ids: Sequence[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))


def _writable(settings: GenerationConfig) -> GenerationConfig:
    """Some models come with settings that transformers reads and refuses to write, which would be after the training."""
    try:
        settings.validate(strict=True)
    except ValueError:
        kept = ("bos_token_id", "eos_token_id", "pad_token_id")
        return GenerationConfig(**{name: getattr(settings, name) for name in kept})
    return settings


def _no_model(path: str | Path, error: Exception, key: str) -> ModelError:
    reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return ModelError(f"{key}: no causal LM at {str(path)!r}: {reason}")


def _resolve(device: str) -> str:
    if device != "auto":
        return device
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else "cpu"


def _train_tokenizer(texts: Sequence[str], vocabulary_tokens: int) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_tokens,
        special_tokens=[END, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=PAD)
