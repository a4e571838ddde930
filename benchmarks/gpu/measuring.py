"""Measurements in processes of their own: what is measured later finds no memory, compiled code or threads of what was before.

A command that compares starts itself anew with `--measure NAME`, and that process prints one line of JSON with the number of
tokens, seconds and the most bytes that were in use. Names take turns; medians are compared.
"""

import json
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence

type Numbers = Mapping[str, float]


class Failed(Exception):  # named after what happened
    """The process ended without a result; its last words."""


def measured(module: str, arguments: Sequence[str], name: str) -> dict[str, float]:
    """What `python -m MODULE ARGUMENTS --measure NAME` prints. Raises Failed."""
    command = [sys.executable, "-W", "ignore", "-m", module, *arguments, "--measure", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        raise Failed(next(iter(reversed(done.stderr.strip().splitlines())), f"exit code {done.returncode}"))
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(name, found, file=sys.stderr)
    return found


def by_turns(
    module: str, arguments: Sequence[str], names: Sequence[str], rounds: int
) -> tuple[dict[str, Numbers], dict[str, str]]:
    """Of each name the medians of its rounds; of those that failed their last words."""
    found: dict[str, list[Numbers]] = {}
    failed: dict[str, str] = {}
    for _ in range(rounds):
        for name in names:
            try:
                found.setdefault(name, []).append(measured(module, arguments, name))
            except Failed as failure:
                failed[name] = str(failure)
    medians: dict[str, Numbers] = {
        name: {key: statistics.median(result[key] for result in results) for key in results[0]}
        for name, results in found.items()
        if name not in failed
    }
    return medians, failed


def ratios(found: Mapping[str, Numbers], base: str) -> dict[str, Numbers]:
    """Speed and memory of each over those of the base; empty where that failed."""
    if base not in found:
        return {}
    one = found[base]
    return {
        name: {"speed": round(_speed(other) / _speed(one), 3), "memory": round(other["peak_bytes"] / one["peak_bytes"], 3)}
        for name, other in found.items()
        if name != base
    }


def figures(found: Mapping[str, Numbers]) -> dict[str, Numbers]:
    """What the ratios are made of."""
    return {
        name: {"tokens_per_second": round(_speed(one), 1), "peak_mib": round(one["peak_bytes"] / 2**20, 1)}
        for name, one in found.items()
    }


def _speed(one: Numbers) -> float:
    return one["tokens"] / one["seconds"]
