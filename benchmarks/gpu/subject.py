"""What is measured: a model, given or with random weights, and the samplers that sample from it."""

import argparse
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from benchmarks.training_step import make_model
from trainer import language_model
from trainer.records import Candidate, Request
from trainer.sampling import vllm
from trainer.sampling.assembly import transformers_sampler
from trainer.sampling.sampler import Origin, Sampler
from trainer.sampling.settings import Cache, Sampling, Vllm
from trainer.sampling.vllm import VllmEngine, VllmSampler

RANDOM = "random"
SAMPLERS = ("transformers", "transformers-static", "vllm")

type OfTokens = Callable[[int], Sampler]
"""The sampler whose responses have at most so many tokens."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which model, and where."""
    gpu = torch.cuda.is_available()
    parser.add_argument("--model", default=RANDOM, help="a causal LM, local folder or hub id; or one with random weights")
    parser.add_argument("--device", default="cuda" if gpu else "cpu", help="cpu, or cuda")
    parser.add_argument("--width", type=int, default=1024 if gpu else 128, help="of a random model, a multiple of 64")
    parser.add_argument("--layers", type=int, default=12 if gpu else 2, help="of a random model")
    parser.add_argument("--vocabulary", type=int, default=32_000 if gpu else 2_000, help="of a random model")
    parser.add_argument("--measure", help=argparse.SUPPRESS)


@contextmanager
def folder(options: argparse.Namespace) -> Iterator[str]:
    """Where the model lies."""
    if options.model != RANDOM:
        yield options.model
        return
    with tempfile.TemporaryDirectory() as made:
        make_model(argparse.Namespace(**{**vars(options), "device": "cpu"})).save(Path(made))
        yield made


@contextmanager
def opened(name: str, path: str, options: argparse.Namespace) -> Iterator[OfTokens]:
    """One of SAMPLERS, for as long as the block lasts; `options.rows` are sampled at once, in bfloat16 on a GPU."""
    dtype = "float32" if options.device == "cpu" else "bfloat16"

    def settings(tokens: int) -> Sampling:
        cache: Cache = "static" if name.endswith("-static") else "dynamic"
        return Sampling(max_response_tokens=tokens, batch_rows=options.rows, cache=cache, stop_at=())

    if name != "vllm":
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) - 1))  # as in a run
        model = language_model.load(path, dtype, options.device)
        yield lambda tokens: transformers_sampler(path, model, settings(tokens), 0, "benchmark")
        return
    vllm.check("--samplers")
    engine = VllmEngine(path, Vllm(requests_at_once=options.rows), dtype)
    fixed: dict[str, Any] = {"tokenizer": language_model.look(path), "origin": Origin(sampler=name, model=""), "seed": 0}
    try:
        yield lambda tokens: VllmSampler(engine, settings(tokens), stage="benchmark", **fixed)
    finally:
        engine.close()


def sample(sampler: Sampler, requests: Sequence[Request]) -> tuple[float, list[Candidate]]:
    """Seconds, and what was sampled."""
    candidates: list[Candidate] = []
    begun = time.monotonic()
    sampler.sample(requests, candidates.append, threading.Event())
    return time.monotonic() - begun, candidates
