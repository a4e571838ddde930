"""Which sampler is fastest on this machine? transformers with a dynamic and with a static cache, and vLLM, on one model.

Each answers requests twice, in a process of its own: the first time code is compiled and graphs are recorded, the second time is
measured, with other prompts of the same lengths, which no cache holds. Responses are as long as they may be, since a model with
random weights hardly ever ends one.
Memory is that of the GPU, and of the processes on a CPU. vLLM takes what it is given beforehand (vllm.gpu_memory_share).
"""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from benchmarks.gpu import subject
from benchmarks.gpu.measuring import by_turns, figures, ratios
from benchmarks.gpu.meters import hardware, watching
from benchmarks.training_step import make_tasks
from trainer.records import Request

BASE = "transformers"


def add_options(parser: argparse.ArgumentParser) -> None:
    """What is sampled."""
    gpu = torch.cuda.is_available()
    subject.add_options(parser)
    parser.add_argument("--tasks", type=int, default=64 if gpu else 8, help="prompts")
    parser.add_argument("--samples", type=int, default=8 if gpu else 4, help="responses to each")
    parser.add_argument("--prompt", type=int, default=256 if gpu else 48, help="tokens of a prompt")
    parser.add_argument("--response", type=int, default=256 if gpu else 32, help="tokens of a response")
    parser.add_argument("--rows", type=int, default=256 if gpu else 16, help="sampled at once")
    parser.add_argument("--rounds", type=int, default=1, help="processes of each sampler")
    parser.add_argument("--samplers", nargs="+", choices=subject.SAMPLERS, default=subject.SAMPLERS, help="those to compare")


def run(options: argparse.Namespace, arguments: Sequence[str]) -> dict[str, Any]:
    """The comparison, or the numbers of one sampler in this process."""
    if options.measure:
        return measure(options, options.measure)
    with subject.folder(options) as path:
        found, failed = by_turns("benchmarks.gpu", [*arguments, "--model", path], options.samplers, options.rounds)
    return {
        f"ratios_to_{BASE}": ratios(found, BASE),
        "measured": figures(found),
        "failed": failed,
        "hardware": hardware(options.device),
        "seconds_of_the_first_time": {name: round(one["first_seconds"], 2) for name, one in found.items()},
    }


def measure(options: argparse.Namespace, name: str) -> dict[str, float]:
    """Numbers of one sampler."""
    prompts = {task.task_id: task.prompt for task in make_tasks(options)}
    backwards = {task_id: prompt[::-1] for task_id, prompt in prompts.items()}
    with watching(options.device) as memory, subject.opened(name, options.model, options) as of_tokens:
        sampler = of_tokens(options.response)
        first_seconds, _ = subject.sample(sampler, _requests(backwards, options.samples))
        seconds, candidates = subject.sample(sampler, _requests(prompts, options.samples))
        memory.look()
    tokens = sum(candidate.tokens for candidate in candidates)
    return {"seconds": seconds, "first_seconds": first_seconds, "tokens": tokens, "peak_bytes": memory.peak_bytes}


def _requests(prompts: Mapping[str, str], samples: int) -> list[Request]:
    return [
        Request(id=f"{name}/{number}", task_id=name, prompt=prompt, temperature=1.0)
        for name, prompt in prompts.items()
        for number in range(samples)
    ]
