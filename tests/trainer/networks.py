"""Tiny networks of several families with random weights, large enough that attention matters."""

import copy
from typing import Any

import torch
from transformers import (
    BloomConfig,
    CohereConfig,
    Gemma2Config,
    GPTBigCodeConfig,
    GPTNeoXConfig,
    GraniteConfig,
    LlamaConfig,
    MistralConfig,
    PreTrainedConfig,
    Qwen2Config,
    Starcoder2Config,
)
from transformers.models.auto.modeling_auto import AutoModelForCausalLM

_NO_ENDS: dict[str, Any] = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
_LLAMA_LIKE: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,  # fewer heads of keys than of queries
    **_NO_ENDS,
}
_GPT_LIKE: dict[str, Any] = {"vocab_size": 300, "n_embd": 32, "n_layer": 2, "n_head": 4, **_NO_ENDS}
_NO_DROPOUT: dict[str, Any] = {"attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0}

SHARING: dict[str, PreTrainedConfig] = {
    "llama": LlamaConfig(**_LLAMA_LIKE),
    "qwen2": Qwen2Config(**_LLAMA_LIKE),
    "starcoder2": Starcoder2Config(**_LLAMA_LIKE, sliding_window=None, residual_dropout=0.0, embedding_dropout=0.0),
    "gpt_bigcode": GPTBigCodeConfig(**_GPT_LIKE, **_NO_DROPOUT),
    "gpt_neox": GPTNeoXConfig(
        vocab_size=300, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, **_NO_ENDS
    ),
}
"""Whose attention goes through transformers' interface and whose positions are told by position ids."""

NOT_SHARING: dict[str, PreTrainedConfig] = {
    "bloom": BloomConfig(vocab_size=300, hidden_size=32, n_layer=2, n_head=4, **_NO_ENDS),
    "mistral": MistralConfig(**_LLAMA_LIKE, sliding_window=4, max_position_embeddings=64),
}
"""Whose positions follow from the mask, and whose layers see only the last tokens."""

CHANGING: dict[str, PreTrainedConfig] = {
    "gemma2": Gemma2Config(**_LLAMA_LIKE, head_dim=8, final_logit_softcapping=30.0),
    "granite": GraniteConfig(**_LLAMA_LIKE, logits_scaling=8.0),
    "cohere": CohereConfig(**_LLAMA_LIKE, logit_scale=0.0625),
}
"""Whose logits go through a tanh, or are scaled."""


def network(config: PreTrainedConfig, dtype: torch.dtype = torch.float64) -> Any:
    """Weights five times as large as usual: with the usual ones every token attends to all others nearly alike."""
    torch.manual_seed(0)
    made: Any = AutoModelForCausalLM.from_config(copy.deepcopy(config)).to(dtype).eval()
    with torch.no_grad():
        for weight in made.parameters():
            if weight.ndim > 1:
                weight.mul_(5)
    return made
