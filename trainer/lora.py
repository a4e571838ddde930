"""Low-rank adapters (LoRA, arXiv 2106.09685) through peft: few weights are trained, and what is saved can be loaded by anything.

The adapters sit inside the network while it trains. Afterwards they are written by themselves and added into the weights, so the
model that samples, whatever the sampler, and that the next round begins with, is a plain one. Where weights are bfloat16 the sum
is rounded to them, so of what adapters learnt some is lost; the saved adapters are whole.
"""

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model

from trainer.errors import ModelError
from trainer.language_model import LanguageModel
from trainer.recipe import Lora

_ALL = "all-linear"


def attach(model: LanguageModel, settings: Lora, seed: int) -> None:
    """Puts adapters into the network and freezes everything else; at first they change nothing. Raises ModelError."""
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=list(settings.target_modules) or _ALL,
    )
    torch.manual_seed(seed)
    try:
        adapters: Any = get_peft_model(model.network, config)
    except ValueError as error:
        reason = next(iter(str(error).strip().splitlines()))
        raise ModelError(f"lora.target_modules: the model has no layers of these names: {reason}") from error
    model.adapters, model.scorer = adapters, None  # what was a plain layer may be adapted now


def merge(model: LanguageModel, folder: Path) -> None:
    """Writes the adapters to `folder` and adds them into the weights."""
    model.adapters.save_pretrained(folder)
    model.network = model.adapters.merge_and_unload()
    model.network.requires_grad_(True)
    model.adapters = model.scorer = None
