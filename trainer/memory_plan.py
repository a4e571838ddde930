"""The memory plan of a recipe: what a training step takes on each GPU, computed from the model's shape.

    python -m trainer.memory_plan RECIPE.toml [--gpus 8] [--gpu-gib 80] [--shape FILE.json]

The shape is the configuration at the recipe's `model.path`, or a file with the same fields (recipes/shapes/), which needs no
download. The model is built without memory to count its parameters. Time is a bound: every response as long as it may be.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from trainer import recipe_file
from trainer.errors import ModelError, TrainerError
from trainer.memory import GIB, Plan, Setup, Shape, plan, training_flops
from trainer.model_source import check

if TYPE_CHECKING:
    from trainer.recipe import Lora, Recipe

_WITHOUT_A_MODEL = "--shape takes a file like those in recipes/shapes"
_BYTES = {"float32": 4, "bfloat16": 2}
_PEAK_FLOPS = {4: 67e12, 2: 990e12}
"""Of an H100, by the bytes of what it computes with."""
_USED = 0.35
"""The share of it that trainings of this kind reach."""


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code: 1 where the plan does not fit."""
    options = _parser().parse_args(arguments)
    try:
        recipe = recipe_file.load(options.recipe, options.set)
        network = network_at(options.shape or recipe.model.path)
    except TrainerError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"error: {error}", markup=False)
        return 2
    shape = shape_of(network)
    setup = setup_of(recipe, shape, options.gpus, adapters(network, recipe.lora))
    found = plan(shape, setup)
    console = Console(highlight=False)
    console.print(_table(found))
    console.print(memory_and_time(recipe, shape, setup, found), markup=False, soft_wrap=True)
    room = options.gpu_gib * GIB
    if found.total > room:
        console.print(f"that is {(found.total - room) / GIB:.1f} GiB more than a GPU has: {_cure(recipe, setup)}")
        return 1
    return 0


def network_at(path: str | Path) -> Any:
    """The model at a path, hub id or configuration file, without memory for its weights. Raises ModelError."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    if not path:
        raise ModelError("model.path is empty: a new model is too small to need a plan; name a model, or a --shape")
    try:
        if str(path).endswith(".json"):
            config: Any = AutoConfig.for_model(**json.loads(Path(path).read_text(encoding="utf-8")))
        else:
            if not Path(path).is_dir():
                check(str(path), "model.path")
            config = AutoConfig.from_pretrained(path)
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config)
    except ModelError as error:
        raise ModelError(f"{error}; {_WITHOUT_A_MODEL}") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"model.path: no configuration of a causal LM at {str(path)!r}; {_WITHOUT_A_MODEL}") from error


def shape_of(network: Any) -> Shape:
    """The sizes of a network as transformers builds it."""
    config = network.config.get_text_config()
    layers = next(module for module in network.modules() if type(module).__name__ == "ModuleList" and len(module) > 0)
    heads = config.num_attention_heads
    shared = 1 if getattr(config, "multi_query", False) else getattr(config, "num_key_value_heads", None) or heads
    inner = getattr(config, "intermediate_size", None) or getattr(config, "n_inner", None) or 4 * config.hidden_size
    return Shape(
        parameters=sum(weights.numel() for weights in network.parameters()),
        layer_parameters=sum(weights.numel() for weights in layers[0].parameters()),
        layers=len(layers),
        hidden=config.hidden_size,
        key_value=(getattr(config, "head_dim", None) or config.hidden_size // heads) * shared,
        inner=inner,
        gated=any("gate_proj" in name for name, _ in layers[0].named_modules()),
        vocabulary=config.vocab_size,
    )


def adapters(network: Any, settings: Lora) -> int:
    """How many weights adapters would add to the network, which gets them; 0 without a rank."""
    import torch

    from trainer import lora
    from trainer.language_model import LanguageModel

    if not settings.rank:
        return 0
    with torch.device("meta"):
        lora.attach(LanguageModel(network=network, tokenizer=None), settings, seed=0)
    return sum(weights.numel() for weights in network.parameters() if weights.requires_grad)


def setup_of(recipe: Recipe, shape: Shape, gpus: int, adapter_parameters: int) -> Setup:
    """How the recipe trains a model of that shape."""
    weight_bytes, compute_bytes = _BYTES[recipe.model.dtype], _BYTES[recipe.training.precision]
    return Setup(
        gpus=gpus,
        sharded=recipe.training.shard_weights,
        weight_bytes=weight_bytes,
        compute_bytes=min(weight_bytes, compute_bytes),
        trained=adapter_parameters or shape.parameters,
        trained_bytes=_BYTES["float32"] if adapter_parameters else weight_bytes,
        tokens=recipe.training.micro_batch_tokens,
        recompute=recipe.training.recompute_activations,
    )


def tokens_of(recipe: Recipe) -> int:
    """The most tokens that the rounds train on: every response, the teacher's too, as long as it may be, prompts not counted."""
    responses = len(recipe.sampling.temperatures_of_task()) + 1
    return recipe.tasks.train * responses * recipe.sampling.max_response_tokens * recipe.training.epochs


def memory_and_time(recipe: Recipe, shape: Shape, setup: Setup, found: Plan) -> str:
    """The line on memory and time at the head of a recipe."""
    tokens = tokens_of(recipe)
    hours = training_flops(shape, setup, tokens) / (setup.gpus * _PEAK_FLOPS[setup.compute_bytes] * _USED) / 3600
    time = f"{hours:.1f} hours" if hours >= 1 else f"{60 * hours:.0f} minutes"
    gpus = "1 GPU" if setup.gpus == 1 else f"{setup.gpus} GPUs"
    return (
        f"# Memory and time, computed: {gpus}, {found.total / GIB:.0f} GiB on each to train; at most {tokens / 1e6:.1f} million "
        f"tokens of responses, {time} on H100, without sampling."
    )


def _cure(recipe: Recipe, setup: Setup) -> str:
    fewer = f"lower training.micro_batch_tokens below {setup.tokens}"
    more = "take more --gpus" if setup.sharded else "set training.shard_weights = true and take more --gpus"
    return f"{fewer}, {more}" + (", or set model.dtype to bfloat16" if recipe.model.dtype == "float32" else "")


def _table(found: Plan) -> Table:
    table = Table("on each GPU", "GiB", box=SIMPLE_HEAD, pad_edge=False)
    table.columns[1].justify = "right"
    rows = {
        "weights": found.parameters,
        "gradients": found.gradients,
        "optimizer": found.optimizer,
        "gathered layers": found.gathered,
        "activations": found.activations,
        "logits": found.logits,
        "reserve": found.reserve,
        "together": found.total,
    }
    for name, count in rows.items():
        table.add_row(name, f"{count / GIB:.1f}")
    return table


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m trainer.memory_plan", description="What a training step of a recipe takes on each GPU, computed."
    )
    parser.add_argument("recipe", type=Path, metavar="RECIPE.toml")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="one key, on top of the recipe")
    parser.add_argument("--gpus", type=int, default=1, help="that train together, as training.shard_weights says; default 1")
    parser.add_argument("--gpu-gib", type=float, default=80, help="memory of one; default 80")
    parser.add_argument("--shape", type=Path, help="the model's configuration, where model.path is out of reach")
    return parser


if __name__ == "__main__":
    sys.exit(main())
