"""The long-lived process inside a jail: warm, single-threaded, forks a cell per program and measures it.

Started as `python -c "... zygote.main(fds)"` with the file descriptors that the engine made for this slot:

    control    a SEQPACKET socket of small JSON messages: orders in, accounts out, one order at a time
    work, stdin, stdout, stderr, report      memory files of the candidate
    tests, findings                          memory files of the examiner
    cpu        the cgroup's CPU meter, where there is one

Program and tests never pass through this process: the cell that needs them reads its own file, so nothing of one program
is left in the memory that the next one is forked from, and nothing of the tests is in the memory of a candidate.
When the control socket closes, the engine is gone: the zygote ends, and the kernel ends everything else in the jail.
"""

import base64
import contextlib
import fcntl
import gc
import importlib
import json
import mmap
import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn

from . import candidate, examiner
from .cell import Bars, enter, write_files
from .kernel import process_cpu_ns, regain_no_capabilities
from .meter import CpuMeter, RunDelays

_MESSAGE_BYTES = 1 << 16
_ENTERED = struct.Struct("=Q")
_PARTING_NS = 200_000_000
"""How long a candidate may take to flush and leave once its examiner is done."""
_TESTS_NS = 2_000_000_000
"""How much more CPU time than the program the tests may use: it is the program's answers that make them slow."""
_LOOK_NS = 50_000_000
"""How often to look at the outputs of a program that runs long."""


@dataclass(slots=True)
class Process:
    """One cell, from its fork to its end. `entered` is the CPU time it had used when its work began, 0 before."""

    pid: int
    pidfd: int
    mark: int
    status: int | None = None
    usage: Any = None
    killed: str = ""
    ended_ns: int = 0

    def kill(self, why: str) -> None:
        if self.status is None and not self.killed:
            self.killed = why
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def wait(self) -> None:
        _, status, self.usage = os.wait4(self.pid, 0)
        self.status = os.waitstatus_to_exitcode(status)
        self.ended_ns = time.monotonic_ns()
        os.close(self.pidfd)

    def cpu_ns(self) -> int:
        """CPU time in ns so far: of the process alone while it lives, of its whole tree once it is dead."""
        if self.status is None:
            return process_cpu_ns(self.pid)
        return int((self.usage.ru_utime + self.usage.ru_stime) * 1e9)


@dataclass(slots=True)
class Zygote:
    """Carries out orders, one after the other."""

    control: socket.socket
    fds: dict[str, int]
    bars: Bars
    meter: CpuMeter
    marks: mmap.mmap = field(default_factory=lambda: mmap.mmap(-1, 2 * _ENTERED.size))
    own_pids: int = field(default_factory=lambda: os.open("/proc/self/ns/pid", os.O_RDONLY))

    def serve(self) -> None:
        """Obey until the engine closes the control socket."""
        while order := self.control.recv(_MESSAGE_BYTES):
            message = json.loads(order)
            if "kind" in message:  # else a cancellation that came too late
                self.control.send(json.dumps(self.obey(message)).encode())

    def obey(self, order: dict[str, Any]) -> dict[str, Any]:
        """Run one program, and its tests where the order says so; returns the account of it."""
        self.marks[:] = bytes(len(self.marks))
        started_ns = time.monotonic_ns()
        self.meter.start()
        ours, theirs = socket.socketpair() if order["kind"] == "asserts" else (None, None)
        first = self._fork(0, lambda: self._be_candidate(order, ours))
        processes = [first]
        if theirs is not None:
            processes.append(self._fork(1, lambda: self._be_examiner(order, theirs)))
        for end in (ours, theirs):
            if end is not None:
                end.close()
        self._watch(processes, order, started_ns)
        self.reset_files()
        return {
            "candidate": self._account(first, started_ns, self.meter.finish(*processes)),
            "examiner": self._account(processes[1], started_ns, processes[1].cpu_ns()) if theirs else None,
        }

    def reset_files(self) -> None:
        """Take back what a program may have set on the memory files that the next one gets too: flags, position, lock."""
        for name in ("stdin", "stdout", "stderr", "report"):
            fcntl.fcntl(self.fds[name], fcntl.F_SETFL, os.O_RDWR if name == "stdin" else os.O_RDWR | os.O_APPEND)
            fcntl.flock(self.fds[name], fcntl.LOCK_UN)
            os.lseek(self.fds[name], 0, os.SEEK_SET)

    def _fork(self, mark: int, be: Callable[[], NoReturn]) -> Process:
        os.setns(self.own_pids, os.CLONE_NEWPID)
        os.unshare(os.CLONE_NEWPID)
        pid = os.fork()
        if pid:
            return Process(pid, os.pidfd_open(pid), mark)
        try:
            be()
        except BaseException as error:
            os.write(2, f"a cell could not be made: {type(error).__name__}: {error}\n".encode())
        finally:
            os._exit(99)

    def _enter(self, mark: int, limits: dict[str, Any], keep: list[int]) -> None:
        enter(self.bars, mark, limits, keep)
        _ENTERED.pack_into(self.marks, mark * _ENTERED.size, time.process_time_ns())
        self.marks.close()

    def _be_candidate(self, order: dict[str, Any], sock: socket.socket | None) -> NoReturn:
        head, more, rest = _read_all(self.fds["work"]).split(b"\n", 2)
        work = json.loads(head) | json.loads(more)
        for fd, name in enumerate(("stdin", "stdout", "stderr")):
            os.dup2(self.fds[name], fd)
        report = self.fds["report"]
        self._enter(0, order["limits"], [report] if sock is None else [report, sock.fileno()])
        source, files, at = rest[: work["source_bytes"]], {}, work["source_bytes"]
        for name, size in work["files"]:
            files[name] = rest[at : at + size]
            at += size
        write_files(files)
        candidate.run(work, source, report, sock)

    def _be_examiner(self, order: dict[str, Any], sock: socket.socket) -> NoReturn:
        work = json.loads(_read_all(self.fds["tests"]))
        for fd in range(3):
            os.dup2(os.open(os.devnull, os.O_RDWR), fd)
        findings = self.fds["findings"]
        self._enter(1, order["limits"], [findings, sock.fileno()])
        examiner.run(work, findings, sock)

    def _watch(self, processes: list[Process], order: dict[str, Any], started_ns: int) -> None:
        """Wait for the processes to end, and end those that go over a limit."""
        poll = select.poll()
        poll.register(self.control, select.POLLIN)
        alive = {process.pidfd: process for process in processes}
        for pidfd in alive:
            poll.register(pidfd, select.POLLIN)
        look_ns = min(_LOOK_NS, order["limits"]["cpu_time_ms"] * 1_000_000)
        delays = RunDelays()
        while alive:
            events = poll.poll(max(1, look_ns // 1_000_000))
            for fd, _ in events:
                if fd in alive:
                    poll.unregister(fd)
                    alive.pop(fd).wait()
                    self._cut_files(order["bounds"])
                elif not self.control.recv(_MESSAGE_BYTES):
                    os._exit(0)
                else:
                    _kill_all(processes, "cancelled")
            if alive:
                look_ns = self._look(processes, order, started_ns, delays)

    def _cut_files(self, bounds: dict[str, int]) -> bool:
        """Whether a memory file is over its bound; it is cut to a byte more, since it would take the next program's memory."""
        over = False
        for name, most in bounds.items():
            if os.fstat(self.fds[name]).st_size > most:
                os.ftruncate(self.fds[name], most + 1)
                over = True
        return over

    def _look(self, processes: list[Process], order: dict[str, Any], started_ns: int, delays: RunDelays) -> int:
        """Kill what is over a limit; returns how long in ns nothing can go over one."""
        (first, *rest), limits = processes, order["limits"]
        elapsed_ns = time.monotonic_ns() - started_ns
        cpu_left_ns = int(limits["cpu_time_ms"]) * 1_000_000 - self._net_cpu_ns(first, self.meter.used_ns(*processes))
        wall_left_ns = int(limits["wall_time_ms"]) * 1_000_000 - elapsed_ns + delays.total_ns()
        if rest and rest[0].status is not None and time.monotonic_ns() - rest[0].ended_ns > _PARTING_NS:
            first.kill("done")
        if cpu_left_ns < 0:
            _kill_all(processes, "cpu")
        elif any(process.cpu_ns() > int(limits["cpu_time_ms"]) * 1_000_000 + _TESTS_NS for process in rest):
            _kill_all(processes, "tests")
        elif wall_left_ns <= 0:
            _kill_all(processes, "wall")
        elif self._cut_files(order["bounds"]):
            _kill_all(processes, "output")
        next_ns = min(_LOOK_NS, cpu_left_ns // self.meter.cores, int(wall_left_ns))
        return max(1_000_000, next_ns)

    def _net_cpu_ns(self, process: Process, used_ns: int) -> int:
        return max(0, used_ns - self._entered_ns(process))

    def _entered_ns(self, process: Process) -> int:
        entered: int = _ENTERED.unpack_from(self.marks, process.mark * _ENTERED.size)[0]
        return entered

    def _account(self, process: Process, started_ns: int, used_ns: int) -> dict[str, Any]:
        return {
            "entered": self._entered_ns(process) > 0,
            "status": process.status,
            "killed": process.killed,
            "cpu_ns": self._net_cpu_ns(process, used_ns),
            "wall_ns": process.ended_ns - started_ns,
            "max_rss_bytes": process.usage.ru_maxrss * 1024,
        }


def main(fds: dict[str, int]) -> None:
    """Warm up as the first message says, report ready, obey."""
    control = socket.socket(fileno=fds["control"])
    settings = json.loads(control.recv(_MESSAGE_BYTES))
    for name in settings["preload"]:
        importlib.import_module(name)
    bars = Bars(base64.b64decode(settings["seccomp"]), settings["ids"], settings["limit_by_rlimits"])
    zygote = Zygote(control, fds, bars, CpuMeter(fds.get("cpu"), settings["cores"]))
    regain_no_capabilities()
    _forget_closed_connections()
    zygote.reset_files()
    gc.collect()
    gc.disable()
    gc.freeze()
    control.send(json.dumps({"ready": sys.version.split()[0]}).encode())
    zygote.serve()


def _forget_closed_connections() -> None:
    """No port of the slot's loopback stays taken for a minute after the program that used it."""
    with contextlib.suppress(OSError), open("/proc/sys/net/ipv4/tcp_max_tw_buckets", "wb", buffering=0) as file:
        file.write(b"0")


def _kill_all(processes: list[Process], why: str) -> None:
    for process in processes:
        process.kill(why)


def _read_all(fd: int) -> bytes:
    return os.pread(fd, os.fstat(fd).st_size, 0)
