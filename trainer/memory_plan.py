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

if TYPE_CHECKING:
    from trainer.recipe import Recipe

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
        shape = shape_of(options.shape or recipe.model.path)
    except TrainerError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"error: {error}", markup=False)
        return 2
    setup = setup_of(recipe, shape, options.gpus)
    found = plan(shape, setup)
    console = Console(highlight=False)
    console.print(_table(found))
    console.print(memory_and_time(recipe, shape, setup, found), markup=False, soft_wrap=True)
    room = options.gpu_gib * GIB
    if found.total > room:
        console.print(f"that is {(found.total - room) / GIB:.1f} GiB more than a GPU has: {_cure(recipe, setup)}")
        return 1
    return 0


def shape_of(path: str | Path) -> Shape:
    """The shape of the model at a path, hub id or configuration file. Raises ModelError."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    if not path:
        raise ModelError("model.path is empty: a new model is too small to need a plan; name a model, or a --shape")
    try:
        if str(path).endswith(".json"):
            config: Any = AutoConfig.for_model(**json.loads(Path(path).read_text(encoding="utf-8")))
        else:
            config = AutoConfig.from_pretrained(path)
        with torch.device("meta"):
            network = AutoModelForCausalLM.from_config(config)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"model.path: no configuration of a causal LM at {str(path)!r}; --shape takes a file like those in recipes/shapes"
        ) from error
    return shape_of_network(network)


def shape_of_network(network: Any) -> Shape:
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


def setup_of(recipe: Recipe, shape: Shape, gpus: int) -> Setup:
    """How the recipe trains a model of that shape."""
    weight_bytes, compute_bytes = _BYTES[recipe.model.dtype], _BYTES[recipe.training.precision]
    return Setup(
        gpus=gpus,
        weight_bytes=weight_bytes,
        compute_bytes=min(weight_bytes, compute_bytes),
        trained=shape.parameters,
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
    gpus = "1 GPU" if setup.gpus == 1 else f"{setup.gpus} GPUs"
    return (
        f"# Memory and time, computed: {gpus}, {found.total / GIB:.0f} GiB on each; training at most {tokens / 1e6:.1f} million "
        f"tokens, {hours:.1f} hours on H100."
    )


def _cure(recipe: Recipe, setup: Setup) -> str:
    fewer = f"lower training.micro_batch_tokens below {setup.tokens}"
    return f"{fewer}, take more --gpus" + (", or set model.dtype to bfloat16" if recipe.model.dtype == "float32" else "")


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
    parser.add_argument("--gpus", type=int, default=1, help="that share the model (FSDP); default 1")
    parser.add_argument("--gpu-gib", type=float, default=80, help="memory of one; default 80")
    parser.add_argument("--shape", type=Path, help="the model's configuration, where model.path is out of reach")
    return parser


if __name__ == "__main__":
    sys.exit(main())
