"""The CPU time of a program's whole process tree: from the slot's cgroup where there is one, else from /proc."""

import contextlib
import os
import time
from typing import Protocol

from .kernel import process_cpu_ns

_TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


class Watched(Protocol):
    """What the meter needs of a process."""

    pid: int

    def cpu_ns(self) -> int: ...


class CpuMeter:
    """Measures one program at a time. `fd` is a cgroup's cpuacct.usage (v1, in ns) or cpu.stat (v2, in us).

    Without one, it adds up processes: those alive with the children they waited for, or all that were ever seen, whichever is
    more. A process that nobody waits for and that dies between two looks then hides what it used since the first of them.
    """

    def __init__(self, fd: int | None, cores: int) -> None:
        self.cores = cores
        self._fd = fd
        self._start_ns = 0
        self._seen_ns: dict[str, int] = {}

    def start(self, *processes: Watched) -> None:
        """What these use, who are forked already, is the program's or the examiner's from their fork on.

        Asked only then, so that no program finds in its memory how much those before it used.
        """
        if self._fd is not None:
            own_ns = sum(process.cpu_ns() for process in processes)
            self._start_ns = self._slot_ns() - time.process_time_ns() - own_ns

    def used_ns(self, candidate: Watched, examiner: Watched | None = None) -> int:
        """The CPU time of the candidate's tree so far, in ns."""
        if self._fd is None:
            return max(self._alive_ns(examiner), sum(self._seen_ns.values()))
        used = self._slot_ns() - time.process_time_ns() - self._start_ns
        others = examiner.cpu_ns() if examiner is not None else 0
        return max(0, used - others)

    def finish(self, candidate: Watched, examiner: Watched | None = None) -> int:
        """The CPU time of the candidate's tree once it is dead, in ns."""
        used_ns = max(candidate.cpu_ns(), self.used_ns(candidate, examiner))
        self.forget()
        return used_ns

    def forget(self) -> None:
        """Keep nothing of the program that was measured."""
        self._start_ns = 0
        self._seen_ns.clear()

    def _slot_ns(self) -> int:
        assert self._fd is not None
        text = os.pread(self._fd, 64, 0)
        return int(text) if text[:1].isdigit() else int(text.split()[1]) * 1000

    def _alive_ns(self, examiner: Watched | None) -> int:
        total = 0
        for pid in _others():
            if examiner is not None and int(pid) == examiner.pid:
                continue
            with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
                own = self._seen_ns[pid] = process_cpu_ns(int(pid))
                total += own + (int(fields[13]) + int(fields[14])) * _TICK_NS
        return total


class RunDelays:
    """How long the program was ready to run and waited for a core, as the process that waited longest since the last look.

    Not as all of them together: a crowd that waits for its own turns on one core would buy itself hours of sleep. Nor longer
    than there was time to wait. To be looked at often: what a process waited between the last look and its death is not known.
    """

    def __init__(self) -> None:
        self._delay_ns_of: dict[str, int] = {}
        self._total_ns = 0

    def total_ns(self, elapsed_ns: int) -> int:
        """The sum so far, of a program that began `elapsed_ns` ago; 0 where the kernel does not say."""
        longest_ns = 0
        alive: dict[str, int] = {}
        with contextlib.suppress(OSError):  # no memory to look, while a program that took it all is dying
            for pid in _others():
                alive[pid] = self._delay_ns_of.get(pid, 0)
                with contextlib.suppress(OSError, IndexError), open(f"/proc/{pid}/schedstat", "rb") as file:
                    delay_ns = int(file.read().split()[1])
                    longest_ns = max(longest_ns, delay_ns - alive[pid])
                    alive[pid] = delay_ns
            self._delay_ns_of = alive  # nothing of those that are gone: a program may have millions of children in its time
        self._total_ns = min(elapsed_ns, self._total_ns + longest_ns)
        return self._total_ns


def _others() -> list[str]:
    """Every process of the slot but the zygote."""
    return [entry for entry in os.listdir("/proc") if entry.isdigit() and entry != "1"]
