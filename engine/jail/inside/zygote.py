"""The long-lived process inside a jail: warm, single-threaded, forks a cell per program and measures it.

Started as `python -c "... zygote.main(fds)"` with the file descriptors that the engine made for this slot:

    control    a SEQPACKET socket: orders in, accounts out, one order at a time; messages.py says in which form
    work, stdin, stdout, stderr, report      memory files of the candidate
    tests, findings                          memory files of the examiner
    cpu        the cgroup's CPU meter, where there is one

Program and tests never pass through this process: the cell that needs them reads its own file, so nothing of one program
is left in the memory that the next one is forked from, and nothing of the tests is in the memory of a candidate.
When the control socket closes, the engine is gone: the zygote ends, and the kernel ends everything else in the jail.

    order ──> cells wait already, for this kind and these limits? ──> go ──> watch ──> account ──> arm the next ones
                                  no: fork them now ───────────────────┘

What a cell needs before the program is made while nobody waits for it: after an order, the cells of one like it are armed.
They have shut themselves off and wait for a word; none of them has seen another program, and what arming costs counts for nobody.
"""

import importlib
import json
import marshal
import os
import select
import signal
import socket
import struct
import sys
import time
import types
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

from . import candidate, examiner, looking, sharing, text
from .cell import HOME, Bars, bar_for_good, enter
from .kernel import Filter, landlock, process_cpu_ns
from .messages import EXAMINED, KILLED, PROCESS, PROGRAM
from .meter import CpuMeter, RunDelays

_MESSAGE_BYTES = 1 << 13
_ENTERED = struct.Struct("=Q")
_NEITHER_ENTERED = bytes(2 * _ENTERED.size)
_PARTING_NS = 200_000_000
"""How long a candidate may take to flush and leave once its examiner is done."""
_TESTS_NS = 2_000_000_000
"""How much more CPU time than the program the tests may use: it is the program's answers that make them slow."""
_LEAST_OF_TESTS = {"open_files": 64, "file_size_bytes": 1 << 26}
"""What tests get also where their program gets less: an examiner that cannot work is taken for a broken slot."""
_LOOK_NS = 50_000_000
"""How often to look at the outputs of a program that runs long."""
_MOST_WAITS = 3
"""How many times its wall time a program may have waited for a core: the engine's patience with a slot ends shortly after."""
_BOUNDED = ("stdin", "stdout", "stderr", "report")
"""The memory files that a program may write to, in the order of an order's bounds."""
_AT_ONCE_S = 0.0005
_own_modules: dict[str, types.ModuleType] = {}
"""Those of this package: a program may have modules of these names, so only examiners find them where imports look."""


class Process:
    """One cell, from its fork to its end. `mark` is where it notes the CPU time that it had used when its work began."""

    __slots__ = ("ended_ns", "killed", "mark", "pid", "pidfd", "status", "usage")

    def __init__(self, pid: int, mark: int) -> None:
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self.mark = mark
        self.status: int | None = None
        self.usage: Any = None
        self.killed = ""
        self.ended_ns = 0

    def kill(self, why: str) -> None:
        if self.status is None and not self.killed:
            self.killed = why
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def has_ended(self) -> bool:
        """Whether it is dead; to be waited for all the same."""
        return os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

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


class Armed(NamedTuple):
    """Cells that are closed off and wait for the word that lets them begin, each reading from the other end of `go`."""

    kind: str
    limits: dict[str, Any]
    processes: list[Process]
    go: int

    def fits(self, order: dict[str, Any]) -> bool:
        """Whether they are made for such an order, and nobody killed them while they waited."""
        return (self.kind, self.limits) == (order["kind"], order["limits"]) and not any(map(Process.has_ended, self.processes))

    def begin(self) -> None:
        os.write(self.go, bytes(len(self.processes)))
        os.close(self.go)

    def disband(self) -> None:
        os.close(self.go)
        for process in self.processes:
            process.kill("cancelled")
            process.wait()


class Zygote:
    """Carries out orders, one after the other."""

    def __init__(self, control: socket.socket, fds: dict[str, int], bars: Bars, meter: CpuMeter, delays: RunDelays) -> None:
        self._control = control
        self._fds = fds
        self._bars = bars
        self._meter = meter
        self._marks = os.memfd_create("marks", os.MFD_CLOEXEC)
        self._own_pids = os.open("/proc/self/ns/pid", os.O_RDONLY)
        self._message = bytearray(_MESSAGE_BYTES)
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)
        self._bounded = [fds[name] for name in _BOUNDED]
        self._delays = delays
        self._armed: Armed | None = None

    def rehearse(self, orders: int) -> None:
        """Obey that many orders."""
        for _ in range(orders):
            self._serve_one(arm=False)

    def serve(self) -> None:
        """Obey until the engine closes the control socket."""
        while self._serve_one(arm=True):
            pass

    def _serve_one(self, *, arm: bool) -> bool:
        length = self._control.recv_into(self._message)
        if not length:
            return False
        order = marshal.loads(self._message)
        self._message[:length] = bytes(length)  # cells see the memory of this process, and nothing there of other orders
        if order is not None:  # else a cancellation that came too late
            self._control.send(self._obey(order))
            looking.write_over_numbers()
            kind, limits, again = order["kind"], order["limits"], order["again"]
            del order
            # Two in a row, so that those who take turns with others do not arm in vain; and not where the next order is there at
            # once: nothing is gained then, and cells that were made a while ago run with colder caches.
            if arm and again and not select.select([self._control], [], [], _AT_ONCE_S)[0]:
                self._armed = self._arm(kind, limits)
        return True

    def _obey(self, order: dict[str, Any]) -> bytes:
        """Run one program, and its tests where the order says so; returns the account of it."""
        processes = self._begin(order)
        started_ns = time.monotonic_ns()
        self._watch(processes, order, started_ns)
        self._cut_files(order["bounds"])
        first, *rest = processes
        account = self._account(first, started_ns, self._meter.finish(*processes))
        for examiner_process in rest:
            account += self._account(examiner_process, started_ns, examiner_process.cpu_ns())
        return account

    def _begin(self, order: dict[str, Any]) -> list[Process]:
        """The processes of an order, at work: those that are armed where they fit, else new ones."""
        armed, self._armed = self._armed, None
        if armed is not None and not armed.fits(order):
            armed.disband()
            self._meter.forget()
            armed = None
        armed = armed or self._arm(order["kind"], order["limits"])
        armed.begin()
        return armed.processes

    def _arm(self, kind: str, limits: dict[str, Any]) -> Armed:
        os.pwrite(self._marks, _NEITHER_ENTERED, 0)
        go, word = os.pipe()
        if kind == PROGRAM:
            processes = [self._fork(0, lambda: self._be_candidate(limits, go, None))]
        elif kind == EXAMINED:
            ours, theirs = socket.socketpair()
            with ours, theirs:
                processes = [
                    self._fork(0, lambda: self._be_candidate(limits, go, ours)),
                    self._fork(1, lambda: self._be_examiner(limits, go, theirs)),
                ]
        else:
            processes = [self._fork(1, lambda: self._be_examiner(limits, go, None))]
        self._meter.start(*processes)
        os.close(go)
        return Armed(kind, limits, processes, word)

    def _fork(self, mark: int, be: Callable[[], NoReturn]) -> Process:
        os.setns(self._own_pids, os.CLONE_NEWPID)
        os.unshare(os.CLONE_NEWPID)
        pid = sharing.fork()
        if pid:
            return Process(pid, mark)
        try:
            be()
        except BaseException as error:
            os.write(2, f"a cell could not be made: {type(error).__name__}: {error}\n".encode())
        finally:
            os._exit(99)

    def _enter(self, mark: int, limits: dict[str, Any], go: int, orders: int, keep: list[int]) -> Any:
        """Close the cell off and wait for the word; returns what the file `orders` then says."""
        enter(self._bars, mark, limits, [go, orders, self._marks, *keep])
        if not os.read(go, 1):
            os._exit(0)
        os.pwrite(self._marks, _ENTERED.pack(time.process_time_ns()), mark * _ENTERED.size)
        work = marshal.loads(os.pread(orders, os.fstat(orders).st_size, 0))  # the program's: it may be too large for its memory
        for fd in (go, orders, self._marks):
            os.close(fd)
        return work

    def _be_candidate(self, limits: dict[str, Any], go: int, sock: socket.socket | None) -> NoReturn:
        report = self._reopened("report")
        for fd, name in enumerate(("stdin", "stdout", "stderr")):
            os.dup2(self._reopened(name), fd)
        candidate.start_afresh()
        work = self._enter(0, limits, go, self._fds["work"], [report] if sock is None else [report, sock.fileno()])
        candidate.run(work, report, sock)

    def _be_examiner(self, limits: dict[str, Any], go: int, sock: socket.socket | None) -> NoReturn:
        sys.modules.update(_own_modules)
        nothing = os.open(os.devnull, os.O_RDWR)
        for fd in range(3):
            os.dup2(nothing, fd)
        findings = self._fds["findings"]
        limits = limits | {name: max(least, limits[name]) for name, least in _LEAST_OF_TESTS.items()}
        work = self._enter(1, limits, go, self._fds["tests"], [findings] if sock is None else [findings, sock.fileno()])
        if sock is not None:
            examiner.run(work, findings, sock)
        from . import preparing

        preparing.run(work, findings)

    def _watch(self, processes: list[Process], order: dict[str, Any], started_ns: int) -> None:
        """Wait for the processes to end, and end those that go over a limit."""
        alive = {process.pidfd: process for process in processes}
        for pidfd in alive:
            self._poll.register(pidfd, select.POLLIN)
        look_ns = min(_LOOK_NS, order["limits"]["cpu_time_ms"] * 1_000_000)
        while alive:
            for fd, _ in self._poll.poll(max(1, look_ns // 1_000_000)):
                if fd in alive:
                    self._poll.unregister(fd)
                    alive.pop(fd).wait()
                elif not self._control.recv(_MESSAGE_BYTES):
                    os._exit(0)
                else:
                    _kill_all(processes, "cancelled")
            if alive:
                look_ns = self._look(processes, order, started_ns)
        self._delays.forget()

    def _reopened(self, name: str) -> int:
        """The memory file with a position, flags, locks and an owner that no other cell has or leaves behind.

        By the entry of process 1, this one: /proc would first have to make those of a new process.
        """
        return os.open(f"/proc/1/fd/{self._fds[name]}", os.O_RDWR | (0 if name == "stdin" else os.O_APPEND))

    def _cut_files(self, bounds: list[int]) -> None:
        """To a byte more than their bounds where they are longer, which is how the engine knows of it; and to their length,
        beyond which a program may have reserved memory."""
        for fd, most in zip(self._bounded, bounds, strict=True):
            os.ftruncate(fd, min(os.lseek(fd, 0, os.SEEK_END), most + 1))

    def _over_bounds(self, bounds: list[int]) -> bool:
        return any(os.fstat(fd).st_size > most for fd, most in zip(self._bounded, bounds, strict=True))

    def _look(self, processes: list[Process], order: dict[str, Any], started_ns: int) -> int:
        """Kill what is over a limit; returns how long in ns nothing can go over one."""
        (first, *rest), limits = processes, order["limits"]
        elapsed_ns = time.monotonic_ns() - started_ns
        cpu_left_ns = int(limits["cpu_time_ms"]) * 1_000_000 - self._net_cpu_ns(first, self._meter.used_ns(*processes))
        wall_ns = int(limits["wall_time_ms"]) * 1_000_000
        wall_left_ns = self._delays.wall_left_ns(elapsed_ns, wall_ns, _MOST_WAITS * wall_ns)
        if rest and rest[0].status is not None and time.monotonic_ns() - rest[0].ended_ns > _PARTING_NS:
            first.kill("done")
        if cpu_left_ns < 0:
            _kill_all(processes, "cpu")
        elif any(process.cpu_ns() > int(limits["cpu_time_ms"]) * 1_000_000 + _TESTS_NS for process in rest):
            _kill_all(processes, "tests")
        elif wall_left_ns <= 0:
            _kill_all(processes, "wall")
        elif self._over_bounds(order["bounds"]):
            _kill_all(processes, "output")
        next_ns = min(_LOOK_NS, cpu_left_ns // self._meter.cores, int(wall_left_ns))
        return max(1_000_000, next_ns)

    def _net_cpu_ns(self, process: Process, used_ns: int) -> int:
        return max(0, used_ns - self._entered_ns(process))

    def _entered_ns(self, process: Process) -> int:
        entered: int = _ENTERED.unpack(os.pread(self._marks, _ENTERED.size, process.mark * _ENTERED.size))[0]
        return entered

    def _account(self, process: Process, started_ns: int, used_ns: int) -> bytes:
        assert process.status is not None
        return PROCESS.pack(
            self._entered_ns(process),
            process.status,
            KILLED.index(process.killed),
            self._net_cpu_ns(process, used_ns),
            process.ended_ns - started_ns,
            process.usage.ru_maxrss * 1024,
        )


def main(fds: dict[str, int]) -> None:
    """Warm up as the first message says, rehearse with the orders that follow it, report ready, obey."""
    control = socket.socket(fileno=fds["control"])
    settings = marshal.loads(control.recv(1 << 16))
    for name in settings["start_environment"]:
        del os.environ[name]
    sys.path[0] = HOME  # where a program's own modules lie
    text.make_own()
    for name in settings["preload"]:
        importlib.import_module(name)
    slot_filter, cell_filter, memory_file_filter = map(Filter, settings["filters"])
    filters = slot_filter, cell_filter, memory_file_filter
    bars = Bars(*filters, settings["ids"], landlock(), settings["limit_by_rlimits"])
    proc = os.open("/proc", os.O_RDONLY)
    zygote = Zygote(control, fds, bars, CpuMeter(fds.get("cpu"), settings["cores"], proc), RunDelays(proc))
    bar_for_good(bars)
    candidate.settle()
    candidate.rehearse()
    zygote.rehearse(settings["rehearsals"])
    for name in [name for name in sys.modules if name.partition(".")[0] == __package__]:
        _own_modules[name] = sys.modules.pop(name)
    sharing.freeze()
    control.send(json.dumps({"ready": sys.version.split()[0]}).encode())
    zygote.serve()


def _kill_all(processes: list[Process], why: str) -> None:
    for process in processes:
        process.kill(why)
