"""Is one way of training better than another? Statistics of runs that share their seeds, from the standard library alone.

A run is compared with the run of the same seed, which had the same start, tasks and samples, so what seeds differ in cancels out.
The differences of a handful of seeds are few, so three views are given: Student's t over the seeds, the exact permutation test
that flips their signs (with n seeds it cannot come below 2 / 2^n), and a bootstrap over seeds and, within each, over tasks.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from operator import mul
from statistics import fmean, stdev

type Passes = Sequence[Sequence[bool]]
"""Of each seed, whether each held-out task was solved."""

_STRIPS = 2000
_RESAMPLES = 4000
_ROUNDING = 1e-12
CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """One against another, in shares of tasks."""

    difference: float
    interval: tuple[float, float]
    """Student's t over seeds, 95 %."""
    bootstrap_interval: tuple[float, float]
    """Over seeds and tasks, 95 %."""
    p_t: float
    p_permutation: float


def compare(one: Passes, other: Passes, *, seed: int = 0) -> Comparison:
    """How much better `one` is than `other`; both have the same seeds with the same tasks. Needs two seeds."""
    differences = [fmean(a) - fmean(b) for a, b in zip(one, other, strict=True)]
    return Comparison(
        difference=fmean(differences),
        interval=mean_interval(differences),
        bootstrap_interval=_bootstrap(one, other, random.Random(seed)),
        p_t=_p_of_t(differences),
        p_permutation=_p_of_signs(differences),
    )


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """Of the mean of a few normal values: mean and quantile of Student's t times the standard error."""
    half = _quantile(CONFIDENCE, len(values) - 1) * stdev(values) / math.sqrt(len(values))
    return fmean(values) - half, fmean(values) + half


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values of several tests, adjusted so that one false alarm among all is as rare as among one (Holm, 1979)."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def within(t: float, freedom: int) -> float:
    """The chance that Student's t lies within -t and t: with t = sqrt(freedom) tan a, the integral of a power of cos a."""
    scale = 2 / math.sqrt(math.pi) * math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2))
    width = math.atan(t / math.sqrt(freedom)) / _STRIPS
    middles = ((strip + 0.5) * width for strip in range(_STRIPS))
    return scale * width * math.fsum(math.cos(angle) ** (freedom - 1) for angle in middles)


def _quantile(confidence: float, freedom: int) -> float:
    low, high = 0.0, 1e3
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if within(middle, freedom) < confidence else (low, middle)
    return high


def _p_of_t(differences: Sequence[float]) -> float:
    error = stdev(differences) / math.sqrt(len(differences))
    if error == 0:
        return 0.0 if fmean(differences) else 1.0
    return 1 - within(abs(fmean(differences)) / error, len(differences) - 1)


def _p_of_signs(differences: Sequence[float]) -> float:
    """The share of all ways to flip signs with a sum as far from 0 as the one that was seen."""
    seen = abs(math.fsum(differences))
    signs = product((1, -1), repeat=len(differences))
    sums = [abs(math.fsum(map(mul, differences, each))) for each in signs]
    return sum(value >= seen - _ROUNDING for value in sums) / len(sums)


def _bootstrap(one: Passes, other: Passes, rng: random.Random) -> tuple[float, float]:
    per_task = [[a - b for a, b in zip(first, second, strict=True)] for first, second in zip(one, other, strict=True)]

    def resampled() -> float:
        return fmean(fmean(rng.choices(tasks, k=len(tasks))) for tasks in rng.choices(per_task, k=len(per_task)))

    means = sorted(resampled() for _ in range(_RESAMPLES))
    cut = round(_RESAMPLES * (1 - CONFIDENCE) / 2)
    return means[cut], means[-1 - cut]
