"""Does a round take no longer than the slower of sampling and execution, with a real sampler?

`python -m benchmarks.overlap` asks that with a sampler that only waits. Here a model samples, and the engine gets a correct
program in place of each response, since what random weights write would not keep it busy. Responses are as long as it takes for
sampling alone to last as long as execution alone. On a CPU both want the same cores, so a round takes about as long as one after
the other: there this shows that the measurement works, and nothing else.
"""

import argparse
import statistics
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch

from benchmarks import overlap
from benchmarks.gpu import subject
from benchmarks.gpu.meters import hardware
from trainer.records import Candidate, Request
from trainer.sampling.sampler import Emit, Sampler


class WithGold:
    """The pace of another sampler; of each candidate the code is that of a correct program, and no two are alike."""

    def __init__(self, sampler: Sampler, gold: Mapping[str, str]) -> None:
        self._sampler, self._gold = sampler, gold

    def sample(self, requests: Sequence[Request], emit: Emit, stop: threading.Event) -> None:
        def emit_gold(candidate: Candidate) -> None:
            code = f"{self._gold[candidate.task_id]}    # {candidate.id}\n"
            emit(replace(candidate, completion=code, truncated=False))

        self._sampler.sample(requests, emit_gold, stop)


def add_options(parser: argparse.ArgumentParser) -> None:
    """What is sampled."""
    gpu = torch.cuda.is_available()
    subject.add_options(parser)
    parser.add_argument("--sampler", choices=subject.SAMPLERS, default="transformers")
    parser.add_argument("--programs", type=int, default=3000 if gpu else 200, help="of a round")
    parser.add_argument("--rows", type=int, default=256 if gpu else 16, help="sampled at once")
    parser.add_argument("--longest", type=int, default=1024, help="tokens that a response may have")
    parser.add_argument("--rounds", type=int, default=3 if gpu else 1, help="of which the median counts")


def run(options: argparse.Namespace, arguments: Sequence[str]) -> dict[str, Any]:
    """The median of the rounds' ratios, and what it is made of."""
    with ExitStack() as stack:
        path = stack.enter_context(subject.folder(options))
        of_tokens = stack.enter_context(subject.opened(options.sampler, path, options))
        work = stack.enter_context(overlap.opened(options.programs))
        tokens = _tokens(of_tokens, work, options.longest)
        sampler = of_tokens(tokens)
        rounds = [_round(sampler, work) for _ in range(options.rounds)]
    return {
        "round_over_the_slower": statistics.median(one["ratio"] for one in rounds),
        "target": overlap.TARGET,
        "rounds": rounds,
        "tokens_of_a_response": tokens,
        "hardware": hardware(options.device),
    }


def _round(sampler: Sampler, work: overlap.Round) -> dict[str, float]:
    """Seconds of each alone and of both together, and what it is all about."""
    sampling, _ = subject.sample(sampler, work.requests)
    execution = work.run_paced(0.0)
    together = work.run(WithGold(sampler, work.gold))
    found = {"ratio": together / max(sampling, execution), "sampling": sampling, "execution": execution, "together": together}
    return {name: round(number, 3) for name, number in found.items()}


def _tokens(of_tokens: subject.OfTokens, work: overlap.Round, longest: int) -> int:
    """So many that sampling takes as long as execution: time grows with them nearly in proportion."""
    tokens = 8
    subject.sample(of_tokens(tokens), work.requests)  # compiles
    for _ in range(2):
        seconds, _ = subject.sample(of_tokens(tokens), work.requests)
        tokens = min(longest, max(1, round(tokens * work.run_paced(0.0) / seconds)))
    return tokens
