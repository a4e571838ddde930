"""Time and memory while something is measured, on a CPU or a GPU."""

import os
import resource
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import torch

from engine.bench.accounting import pss_of
from engine.bench.processes import descendants

WARM_UP_STEPS = 2
_LOOK_EVERY_S = 0.1


def hardware(device: str) -> str:
    """What it was measured on."""
    if device != "cpu":
        return torch.cuda.get_device_name(device)
    return f"{len(os.sched_getaffinity(0))} cores"


class StepMeter:
    """Seconds of training steps and peak memory, from when it is made: CPU time on a CPU, which other programs disturb least."""

    def __init__(self, device: str) -> None:
        self._on_gpu = device != "cpu"
        self._clock = time.perf_counter if self._on_gpu else time.process_time
        self._before = _resident_bytes()
        self._ticks = [self._clock()]

    def step(self) -> None:
        """A step has ended, with its loss on the host, so a GPU has finished it."""
        self._ticks.append(self._clock())

    def found(self) -> dict[str, float]:
        """The median of the steps behind the first ones, and the most memory above what stood there before."""
        seconds = [later - earlier for earlier, later in pairwise(self._ticks)][WARM_UP_STEPS:]
        return {"seconds": statistics.median(seconds), "peak_bytes": self._peak()}

    def _peak(self) -> int:
        if self._on_gpu:
            return torch.cuda.max_memory_allocated()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - self._before


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


class MemoryWatch:
    """The most memory in use, above what was at first: of a GPU by whomever, or of this process with all below it."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._before = self._used()
        self.peak_bytes = 0

    def look(self) -> None:
        self.peak_bytes = max(self.peak_bytes, self._used() - self._before)

    def _used(self) -> int:
        if self._device != "cpu":
            free, total = torch.cuda.mem_get_info(self._device)
            return total - free
        return sum(pss_of(pid) for pid in (os.getpid(), *descendants(os.getpid())))


@contextmanager
def watching(device: str) -> Iterator[MemoryWatch]:
    """Looks every now and then while the block lasts."""
    watch, over = MemoryWatch(device), threading.Event()

    def work() -> None:
        while not over.wait(_LOOK_EVERY_S):
            watch.look()

    thread = threading.Thread(target=work, name="memory")
    thread.start()
    try:
        yield watch
    finally:
        over.set()
        thread.join()
        watch.look()
