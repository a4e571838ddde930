"""What processes cost, read from /proc: CPU time and memory of an engine and of everything in its slots.

Cells are too short-lived to be looked at. Their CPU time is in the account of the zygote that waited for them, which is what
`slots_seconds` adds up, in the kernel's ticks of 10 ms per process: fit for many programs, not for one.
"""

import os
import re
import resource
import time
from dataclasses import dataclass
from pathlib import Path

from engine.bench.processes import descendants, stat_of

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class CpuTimes:
    """Seconds of CPU time so far: of this process, of the engine's own process, of all its slots."""

    client: float
    server: float
    slots: float

    @classmethod
    def of(cls, engine: int) -> "CpuTimes":
        """Raises OSError where the engine is gone."""
        return cls(time.process_time(), time.clock_gettime((~engine << 3) | 2), slots_seconds(engine))

    def since(self, before: "CpuTimes") -> "CpuTimes":
        return CpuTimes(self.client - before.client, self.server - before.server, self.slots - before.slots)


@dataclass(frozen=True)
class Attention:
    """What the cores did so far, in seconds: since when, at work for anybody, at work for this benchmark and its engine."""

    at: float
    busy: float
    own: float

    @classmethod
    def now(cls, engine: int) -> "Attention":
        """Raises OSError where the engine is gone."""
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        server = time.clock_gettime((~engine << 3) | 2)
        own = sum(one.ru_utime + one.ru_stime for one in used) + server + slots_seconds(engine)
        return cls(time.monotonic(), _busy_seconds(), own)

    def others(self, before: "Attention", cores: int) -> float:
        """The share of the cores that other programs took since then."""
        elapsed = max(self.at - before.at, _TICK_S) * cores
        return min(1.0, max(0.0, (self.busy - before.busy - self.own + before.own) / elapsed))


def _busy_seconds() -> float:
    """CPU time of everything on the cores that this process may use: all fields but idle and waiting for disks."""
    ours = {f"cpu{core}" for core in os.sched_getaffinity(0)}
    lines = (line.split() for line in Path("/proc/stat").read_text().splitlines())
    return (
        sum(sum(int(ticks) for index, ticks in enumerate(line[1:8]) if index not in (3, 4)) for line in lines if line[0] in ours)
        * _TICK_S
    )


def slots_seconds(engine: int) -> float:
    """CPU time of all processes below an engine, the ended ones that were waited for included."""
    return sum(sum(map(int, stat_of(pid)[11:15])) for pid in descendants(engine)) * _TICK_S


def pss_bytes(engine: int) -> int:
    """Memory of all processes below an engine; a page that n processes share counts as an n-th for each."""
    return sum(pss_of(pid) for pid in descendants(engine))


def pss_of(pid: int) -> int:
    """Memory of one process, counted likewise; 0 where it is gone."""
    try:
        found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    except OSError:
        return 0  # gone, or a process of the kernel
    return int(found[1]) * 1024 if found else 0
