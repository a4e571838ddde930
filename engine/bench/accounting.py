"""What processes cost, read from /proc: CPU time and memory of an engine and of everything in its slots.

Cells are too short-lived to be looked at. Their CPU time is in the account of the zygote that waited for them, which is what
`slots_seconds` adds up, in the kernel's ticks of 10 ms per process: fit for many programs, not for one.
"""

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

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


def slots_seconds(engine: int) -> float:
    """CPU time of all processes below an engine, the ended ones that were waited for included."""
    return sum(sum(map(int, _stat(pid)[11:15])) for pid in descendants(engine)) * _TICK_S


def pss_bytes(engine: int) -> int:
    """Memory of all processes below an engine; a page that n processes share counts as an n-th for each."""
    return sum(_pss(pid) for pid in descendants(engine))


def descendants(process: int) -> list[int]:
    """All processes below one, nearest first."""
    children: dict[int, list[int]] = {}
    for pid in _processes():
        if fields := _stat(pid):
            children.setdefault(int(fields[1]), []).append(pid)
    found = children.get(process, [])
    for pid in found:
        found += children.get(pid, [])  # grows while it is read
    return found


def _processes() -> Iterator[int]:
    return (int(entry.name) for entry in os.scandir("/proc") if entry.name.isdecimal())


def _stat(pid: int) -> list[str]:
    """The fields behind the name, from the state on; none where the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _pss(pid: int) -> int:
    try:
        found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    except OSError:
        return 0  # gone, or a process of the kernel
    return int(found[1]) * 1024 if found else 0
