"""What makes a training step fast and small? One thing changed at a time, against a base.

The base is what a recipe for this device does: prompts shared among their responses in rows without padding, all weights
trained. On a GPU that is FlexAttention and bfloat16, on a CPU SDPA and float32. The ways to change it:

    padded       a row for each response, its prompt before it
    sdpa         SDPA in place of FlexAttention (on a GPU: on a CPU it is the base)
    float32      in place of bfloat16, or bfloat16 in place of float32: whichever is not the base
    recomputed   activations are not kept but computed again (activation checkpointing)
    lora         adapters are trained and nothing else

RRTF on eight responses to each prompt. Speed counts the tokens of the data, prompts once, whichever way is taken.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from benchmarks.gpu import subject
from benchmarks.gpu.measuring import by_turns, figures, ratios
from benchmarks.gpu.meters import StepMeter, hardware
from benchmarks.training_step import make_model, make_tasks, schedule, tokens_in
from trainer import attention, language_model, lora
from trainer.language_model import LanguageModel
from trainer.logprobs import Scorer
from trainer.objectives.chosen import loss_of
from trainer.objectives.settings import Rrtf
from trainer.recipe import Lora, Precision
from trainer.training import train

BASE, ALL = "base", "all"


@dataclass(frozen=True, kw_only=True)
class Way:
    """How a step is computed."""

    kernel: str
    """Of the attention in packed rows (trainer.attention); empty: padded rows."""
    precision: Precision
    recompute: bool = False
    lora_rank: int = 0


def ways(device: str) -> dict[str, Way]:
    """The base, and each way to change it, by name."""
    on_cpu = device == "cpu"
    base = Way(kernel=attention.SDPA, precision="float32") if on_cpu else Way(kernel=attention.FLEX, precision="bfloat16")
    other: Precision = "bfloat16" if on_cpu else "float32"
    return {
        BASE: base,
        "padded": replace(base, kernel=""),
        **({} if on_cpu else {"sdpa": replace(base, kernel=attention.SDPA)}),
        other: replace(base, precision=other),
        "recomputed": replace(base, recompute=True),
        "lora": replace(base, lora_rank=16),
    }


def add_options(parser: argparse.ArgumentParser) -> None:
    """The sizes of a step."""
    gpu = torch.cuda.is_available()
    subject.add_options(parser)
    parser.add_argument("--tasks", type=int, default=8 if gpu else 2, help="prompts of a step")
    parser.add_argument("--prompt", type=int, default=256 if gpu else 48, help="tokens of a prompt")
    parser.add_argument("--response", type=int, default=256 if gpu else 48, help="mean tokens of a response")
    parser.add_argument("--steps", type=int, default=10 if gpu else 2, help="measured steps of each process")
    parser.add_argument("--rounds", type=int, default=2 if gpu else 1, help="processes of each way")
    parser.add_argument("--ways", nargs="+", metavar="WAY", default=[ALL], help=f"those to hold against {BASE}")


def run(options: argparse.Namespace, arguments: Sequence[str]) -> dict[str, Any]:
    """The comparison, or the numbers of one way in this process."""
    known = ways(options.device)
    if options.measure:
        return measure(options, known[options.measure])
    names = list(known) if options.ways == [ALL] else [BASE, *options.ways]
    found, failed = by_turns("benchmarks.gpu", arguments, names, options.rounds)
    return {
        "ratios_to_base": ratios(found, BASE),
        "base": asdict(known[BASE]),
        "measured": figures(found),
        "failed": failed,
        "hardware": hardware(options.device),
        "parameters": next((one["parameters"] for one in found.values()), None),
        "tokens_of_a_step": next((one["tokens"] for one in found.values()), None),
    }


def measure(options: argparse.Namespace, way: Way) -> dict[str, float]:
    """Numbers of one way."""
    if options.device == "cpu":
        torch.set_num_threads(1)
    meter = StepMeter(options.device)
    model, tasks = _model(options), make_tasks(options)
    parameters, tokens = model.network.num_parameters(), tokens_in(model, tasks)
    if way.lora_rank:
        lora.attach(model, Lora(rank=way.lora_rank), seed=0)
    model.scorer = Scorer.of(model.network, [way.kernel] if way.kernel else [])
    if way.kernel and not model.scorer.shares_prefixes:
        raise SystemExit(f"this model does not work with packed rows and {way.kernel}")
    plan = replace(schedule(options), precision=way.precision, recompute_activations=way.recompute)
    for _ in train(model, tasks, loss_of(Rrtf()), plan, 0):
        meter.step()
    return {**meter.found(), "tokens": tokens, "parameters": parameters}


def _model(options: argparse.Namespace) -> LanguageModel:
    is_random = options.model == subject.RANDOM
    return make_model(options) if is_random else language_model.load(options.model, "float32", options.device)
