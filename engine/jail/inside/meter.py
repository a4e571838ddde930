"""The CPU time of a program's whole process tree: from the slot's cgroup where there is one, else from /proc."""

import os
import time
from typing import Protocol

from . import looking
from .kernel import process_cpu_ns

_TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_OF_CHILDREN = range(13, 15)
"""Of /proc/PID/stat, behind the name: ticks of children that were waited for."""
_DELAY = range(1, 2)
"""Of /proc/PID/schedstat: ns of waiting for a core."""
_LOOK_NS, _LONGEST_PAUSE_NS = 50_000_000, 500_000_000
_SPARING = 16
"""How many times as long as a look takes there is none: it takes CPU time that is in nobody's account."""


class Watched(Protocol):
    """What the meter needs of a process."""

    pid: int

    def cpu_ns(self) -> int: ...


class CpuMeter:
    """Measures one program at a time. `fd` is a cgroup's cpuacct.usage (v1, in ns) or cpu.stat (v2, in us), `proc` an open /proc.

    Without a cgroup, it adds up processes: those alive with the children they waited for, or all that were ever seen, whichever
    is more. A process that nobody waits for and that dies between two looks then hides what it used since the first of them.
    """

    def __init__(self, fd: int | None, cores: int, proc: int) -> None:
        self.cores = cores
        self._fd = fd
        self._proc = proc
        self._start_ns = 0
        self._seen = looking.Table()

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
            return max(self._alive_ns(examiner), self._seen.total() + self._seen.of_the_gone)
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
        if self._fd is None:
            self._seen.wipe()
            looking.wipe()

    def _slot_ns(self) -> int:
        assert self._fd is not None
        text = os.pread(self._fd, 64, 0)
        return int(text) if text[:1].isdigit() else int(text.split()[1]) * 1000

    def _alive_ns(self, examiner: Watched | None) -> int:
        total = 0
        self._seen.begin()
        for pid, ticks_of_children in looking.look(self._proc, b"/stat", _OF_CHILDREN):
            if ticks_of_children is not None and (examiner is None or pid != examiner.pid):
                try:
                    own = process_cpu_ns(pid)
                except OSError:  # gone just now
                    continue
                self._seen.exchange(pid, own)
                total += own + ticks_of_children * _TICK_NS
        self._seen.end()
        return total


class RunDelays:
    """How long the program was ready to run and waited for a core, as the process that waited longest since the last look.

    Not as all of them together: a crowd that waits for its own turns on one core would buy itself hours of sleep. Nor longer
    than there was time to wait. Looked at often, since what a process waited between the last look and its death is not known,
    and not too often, since a program may have hundreds of processes. `proc` is an open /proc.
    """

    def __init__(self, proc: int) -> None:
        self._proc = proc
        self._delays = looking.Table()
        self._total_ns = self._next_ns = 0

    def wall_left_ns(self, elapsed_ns: int, wall_ns: int, most_ns: int) -> int:
        """How much is left to a program that began `elapsed_ns` ago, may take `wall_ns`, and has waited at most `most_ns` of it.

        Where it is not yet time for another look, what is left until then.
        """
        if elapsed_ns < self._next_ns:
            return self._next_ns - elapsed_ns
        began_ns = time.process_time_ns()
        self._total_ns = min(elapsed_ns, self._total_ns + self._longest_ns())
        left_ns = wall_ns + min(self._total_ns, most_ns) - elapsed_ns
        pause_ns = max(_SPARING * (time.process_time_ns() - began_ns), min(_LOOK_NS, left_ns))
        self._next_ns = elapsed_ns + min(_LONGEST_PAUSE_NS, pause_ns)
        return left_ns

    def forget(self) -> None:
        """Keep nothing of the program that was looked at."""
        if self._next_ns:
            self._total_ns = self._next_ns = 0
            self._delays.wipe()
            looking.wipe()

    def _longest_ns(self) -> int:
        longest_ns = 0
        self._delays.begin()
        for pid, delay_ns in looking.look(self._proc, b"/schedstat", _DELAY):
            last_ns = self._delays.exchange(pid, delay_ns)
            longest_ns = max(longest_ns, (delay_ns or last_ns) - last_ns)
        self._delays.end()
        return longest_ns
