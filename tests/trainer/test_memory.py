"""The memory plan: its arithmetic by hand, and its count of saved activations against what autograd saves."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, GPTBigCodeConfig, LlamaConfig

from trainer.memory import Setup, Shape, plan, saved_values, training_flops
from trainer.memory_plan import adapters, main, shape_of
from trainer.recipe import Lora
from trainer.recipe_file import load

SHAPE = Shape(parameters=1000, layer_parameters=400, layers=2, hidden=8, key_value=4, inner=32, gated=True, vocabulary=25)
SETUP = Setup(gpus=1, sharded=True, weight_bytes=4, compute_bytes=4, trained=1000, trained_bytes=4, tokens=100, recompute=False)

LLAMA = LlamaConfig(
    hidden_size=64,
    intermediate_size=192,
    num_hidden_layers=4,
    num_attention_heads=4,
    num_key_value_heads=2,
    vocab_size=64,
)
BIGCODE = GPTBigCodeConfig(
    n_embd=64, n_inner=256, n_layer=4, n_head=4, vocab_size=64, n_positions=128, attn_pdrop=0, resid_pdrop=0, embd_pdrop=0
)
"""Models of two kinds: gated with few keys, and StarCoder's with one key for all heads."""


def test_the_state_of_a_training_is_four_times_its_weights() -> None:
    """Weights, gradients and two moments; two GPUs hold half each."""
    alone, shared = plan(SHAPE, SETUP), plan(SHAPE, replace(SETUP, gpus=2))
    assert (alone.parameters, alone.gradients, alone.optimizer) == (4000, 4000, 8000)
    assert (shared.parameters, shared.gradients, shared.optimizer) == (2000, 2000, 4000)


def test_gpus_that_share_a_model_gather_two_layers_and_the_rest() -> None:
    """200 of the parameters are in no layer."""
    assert plan(SHAPE, SETUP).gathered == 0
    assert plan(SHAPE, replace(SETUP, gpus=2)).gathered == (2 * 400 + 200) * 4


def test_gpus_with_a_copy_each_save_nothing() -> None:
    """And hold the gradients twice, to bring them together."""
    alone, copies = plan(SHAPE, SETUP), plan(SHAPE, replace(SETUP, gpus=2, sharded=False))
    assert copies == replace(alone, gradients=2 * alone.gradients)


def test_adapters_need_no_gradients_of_other_weights() -> None:
    """Nor moments, nor the products that make them."""
    few = plan(SHAPE, replace(SETUP, trained=10))
    assert (few.parameters, few.gradients, few.optimizer) == (4040, 40, 80)
    assert training_flops(SHAPE, SETUP, 7) == 6 * 1000 * 7
    assert training_flops(SHAPE, replace(SETUP, trained=10), 7) == 4 * 1000 * 7


def test_one_gpu_keeps_a_copy_of_the_weights_in_the_precision_it_computes_with() -> None:
    """Where that is another than theirs."""
    assert plan(SHAPE, replace(SETUP, compute_bytes=2)).gathered == 2000


def test_recomputed_activations_are_inputs_and_one_layer() -> None:
    """For the time of one more forward pass."""
    assert saved_values(SHAPE) == 6 * 8 + 2 * 4 + 4 * 32
    recomputed = replace(SETUP, recompute=True)
    assert plan(SHAPE, SETUP).activations == 2 * 100 * 184 * 4
    assert plan(SHAPE, recomputed).activations == 2 * 100 * 8 * 4 + 100 * 184 * 4
    assert training_flops(SHAPE, recomputed, 7) == 8 * 1000 * 7


def test_the_weights_of_adapters_are_counted() -> None:
    """On every product of a layer: rank times the widths of its two sides."""
    network = AutoModelForCausalLM.from_config(LLAMA)
    layer = 2 * (64 + 64) + 2 * (64 + 32) + 3 * (64 + 192)  # q and o, k and v, the MLP
    assert adapters(network, Lora(rank=3)) == 4 * 3 * layer


def saved_bytes(network: Any, tokens: int) -> int:
    """What autograd keeps of a forward pass, the weights not counted."""
    weights = {values.untyped_storage().data_ptr() for values in network.parameters()}
    kept: dict[int, int] = {}

    def pack(values: torch.Tensor) -> torch.Tensor:
        storage = values.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return values

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda values: values):
        output = network(torch.arange(tokens)[None] % 64, use_cache=False).last_hidden_state
    assert output.requires_grad
    return sum(kept.values())


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # transformers' StarCoder uses it
@pytest.mark.parametrize("config", [LLAMA, BIGCODE], ids=["llama", "bigcode"])
def test_the_count_of_saved_values_is_that_of_autograd(config: Any) -> None:
    """Within a quarter, on real networks: what a layer more makes autograd keep."""
    config._attn_implementation = "sdpa"
    network = AutoModelForCausalLM.from_config(config).train()
    shape, tokens = shape_of(network), 96
    whole = saved_bytes(network.base_model, tokens)
    layers = next(module for module in network.base_model.modules() if isinstance(module, torch.nn.ModuleList))
    del layers[2:]
    network.base_model.config.num_hidden_layers = 2
    of_layer = (whole - saved_bytes(network.base_model, tokens)) / 2
    assert of_layer == pytest.approx(tokens * saved_values(shape) * 4, rel=0.25)


PLANNED = [path for path in sorted(Path("recipes").glob("*.toml")) if "trainer.memory_plan" in path.read_text()]


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
@pytest.mark.parametrize("path", PLANNED, ids=lambda path: path.stem)
def test_what_a_recipe_says_of_memory_and_time_is_computed(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the command above the line, and it fits."""
    lines = path.read_text().splitlines()
    number = next(number for number, line in enumerate(lines) if line.startswith("# python -m trainer.memory_plan "))
    assert main(shlex.split(lines[number])[4:]) == 0
    assert lines[number + 1] in capsys.readouterr().out.splitlines()


def test_a_plan_that_does_not_fit_says_what_helps(capsys: pytest.CaptureFixture[str]) -> None:
    """With exit code 1."""
    shape = "recipes/shapes/qwen2.5-coder-7b.json"
    assert main(["recipes/code-7b.toml", "--shape", shape, "--gpu-gib", "24"]) == 1
    budget = load(Path("recipes/code-7b.toml"), []).training.micro_batch_tokens
    assert f"more than a GPU has: lower training.micro_batch_tokens below {budget}" in " ".join(capsys.readouterr().out.split())


def test_a_model_that_is_out_of_reach_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """With the cure, and exit code 2."""
    assert main(["recipes/code-7b.toml", "--set", "model.path=./nowhere"]) == 2
    assert "--shape takes a file like" in capsys.readouterr().err
