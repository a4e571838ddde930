"""One cgroup per slot, of version 1 or 2: bounds and measures memory, processes and CPU time of everything in it.

It also gives each slot one share of the cores, where the kernel does not share them out by session.

An engine owns one folder, named after its process, in each hierarchy; each slot has a folder in there. Nothing is
shared between slots. An engine that was killed leaves empty folders: the next one to start sweeps them.

    version 1    <mounts of memory, pids, cpuacct, cpu>/<the engine's own cgroup>/<the engine's folder>/slot-<n>
    version 2    <mount>/<a group whose controllers can be handed on>/<the engine's folder>/slot-<n>

where the folder is rrtf-engine-<pid>-<start>-<pid namespace>-<n>.

`find_hierarchy` says what this host has; where nothing can be had it says why, and the engine falls back to resource limits.
"""

import contextlib
import errno
import itertools
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.jail.mounts import host_mounts, mounts_in

PREFIX = "rrtf-engine-"
_V1_CONTROLLERS = ("memory", "pids", "cpuacct")
_V2_CONTROLLERS = ("memory", "pids")
_AUTOGROUP = Path("/proc/sys/kernel/sched_autogroup_enabled")
_SHARES = {1: "cpu.shares", 2: "cpu.weight"}
_ONE_SHARE, _MOST_SHARES = {1: 1024, 2: 100}, {1: 262_144, 2: 10_000}
_EMPTYING_MS = 2000
_MOST_STAYING, _STAYING_S = 64, 60.0
"""How many groups may stay in the kernel after their end, since libraries that were read once should not be read anew for each
slot; and after how many seconds one more may."""
_MOST_KERNEL_BYTES = 4 << 20
_SWAP_BYTES = 2 << 20
"""What memory with swap is bounded higher than memory: it is asked first, and version 1 counts no refusals of its."""


@dataclass(frozen=True)
class Readings:
    """What a slot's cgroup has counted since it was made."""

    oom_kills: int
    memory_refusals: int
    """How often there was no more memory within the limit."""
    refused_forks: int
    memory_bytes: int
    peak_memory_bytes: int


@dataclass(frozen=True)
class Hierarchy:
    """Where groups can be made: one folder per controller in version 1, one for all in version 2."""

    version: int
    folders: dict[str, Path]

    def below(self, name: str) -> "Hierarchy":
        """The same hierarchy, one folder further down."""
        return Hierarchy(self.version, {controller: folder / name for controller, folder in self.folders.items()})


def find_hierarchy(mounts: Mapping[str, Path] | None = None, own: Mapping[str, str] | None = None) -> Hierarchy | str:
    """Where this process may make groups, or why it may not. `mounts` and `own` are by controller, read from /proc by default."""
    mounts = read_mounts(host_mounts()) if mounts is None else mounts
    own = read_own_groups(Path("/proc/self/cgroup").read_text()) if own is None else own
    if all(controller in mounts for controller in _V1_CONTROLLERS):
        folders = {controller: _nested(mounts[controller], own.get(controller, "/")) for controller in _V1_CONTROLLERS}
        found = Hierarchy(1, folders)
        if not _can_make_groups(found):
            return f"no permission to make groups in {folders['memory']}"
        cpu = {"cpu": _nested(mounts["cpu"], own.get("cpu", "/"))} if "cpu" in mounts else {}
        wanted = any(map(_needs_shares, cpu.values())) and _can_make_groups(Hierarchy(1, cpu))
        return Hierarchy(1, folders | cpu) if wanted else found
    if "" not in mounts:
        return "no cgroup file system is mounted"
    reasons = []
    for folder in dict.fromkeys((_nested(mounts[""], own.get("", "/")), mounts[""])):
        reason = _hand_on_controllers(folder)
        if reason is None:
            return Hierarchy(2, {"memory": folder})
        reasons.append(reason)
    return "; ".join(reasons)


def read_own_groups(text: str) -> dict[str, str]:
    """The cgroup of a process by controller, from /proc/PID/cgroup; version 2 has the empty name."""
    groups = {}
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        groups.update(dict.fromkeys(controllers.split(","), path))
    return groups


def read_mounts(text: str) -> dict[str, Path]:
    """Where each controller is mounted, from /proc/self/mounts; version 2 has the empty name."""
    mounts: dict[str, Path] = {}
    for mount in mounts_in(text):
        if mount.kind == "cgroup":
            mounts.update(dict.fromkeys(mount.options, mount.point))
        elif mount.kind == "cgroup2":
            mounts[""] = mount.point
    return mounts


def _nested(mount: Path, own: str) -> Path:
    """The process's own group below a mount; the mount itself where a namespace or container hides it."""
    folder = mount / own.lstrip("/")
    return folder if folder.is_dir() else mount


def _needs_shares(folder: Path, version: int = 1) -> bool:
    """Whether a crowd of processes would take as many shares of the cores as it has members.

    In the root group the kernel may give each session, and so each program, one share; in no other group does it.
    """
    try:
        shares = folder / _SHARES[version]
        shares.write_text(shares.read_text())  # which the root group refuses, or does not have
        return True
    except OSError:
        return _read_or_empty(_AUTOGROUP).strip() != "1"


def _read_or_empty(file: Path) -> str:
    with contextlib.suppress(OSError):
        return file.read_text()
    return ""


def _hand_on(folder: Path, controllers: Iterable[str]) -> None:
    """Let groups below use those. Raises OSError."""
    (folder / "cgroup.subtree_control").write_text("".join(f"+{controller} " for controller in controllers))


def _can_make_groups(hierarchy: Hierarchy) -> bool:
    name = f"{_own_name()}-probe"
    try:
        for folder in hierarchy.folders.values():
            (folder / name).mkdir()
            (folder / name).rmdir()
    except OSError:
        return False
    return True


def _hand_on_controllers(folder: Path) -> str | None:
    """Let groups below a version 2 group use the controllers; returns why that is not possible.

    A group that hands controllers on may hold no process, the root group excepted. Where this process is the only
    one of its group, as in a container or a service, it moves into a leaf of its own first.
    """
    offered = (folder / "cgroup.controllers").read_text().split()
    missing = [controller for controller in _V2_CONTROLLERS if controller not in offered]
    if missing:
        return f"{folder} does not offer the controllers {' and '.join(missing)}"
    try:
        with contextlib.suppress(OSError):
            _hand_on(folder, _V2_CONTROLLERS)
        if not set(_V2_CONTROLLERS) <= set((folder / "cgroup.subtree_control").read_text().split()):
            if (folder / "cgroup.procs").read_text().split() != [str(os.getpid())]:
                return f"{folder} holds other processes, so it cannot hand its controllers on"
            leaf = folder / f"{PREFIX}self"
            leaf.mkdir(exist_ok=True)
            (leaf / "cgroup.procs").write_text(str(os.getpid()))
            _hand_on(folder, _V2_CONTROLLERS)
        if "cpu" in offered and _needs_shares(folder, version=2):
            with contextlib.suppress(OSError):
                _hand_on(folder, ["cpu"])
        probe = Hierarchy(2, {"memory": folder})
        return None if _can_make_groups(probe) else f"no permission to make groups in {folder}"
    except OSError as error:
        return f"{folder}: {error.strerror}"


_engines = itertools.count()
"""There may be several in one process, and none may touch what another one made."""


class EngineGroups:
    """The groups of one engine. Raises OSError where they cannot be made."""

    def __init__(self, hierarchy: Hierarchy) -> None:
        self._own = hierarchy.below(f"{_own_name()}-{next(_engines)}")
        for folder in self._own.folders.values():
            folder.mkdir(exist_ok=True)
            if hierarchy.version == 2:
                offered = _read_or_empty(folder / "cgroup.controllers").split()
                _hand_on(folder, [*_V2_CONTROLLERS, *({"cpu"} & set(offered))])
        self._next_may_stay = 0.0
        self._slots = 0

    def slot(self, number: int) -> "SlotGroup":
        """A new group for that slot; what an earlier one left is killed. Raises OSError."""
        self._weigh(number + 1)
        return SlotGroup(self._own.below(f"slot-{number}"), self._may_stay)

    def _weigh(self, slots: int) -> None:
        """One share for each slot, against whoever else is on the host."""
        self._slots = max(self._slots, slots)
        version = self._own.version
        shares = min(self._slots * _ONE_SHARE[version], _MOST_SHARES[version])
        for folder in self._own.folders.values():
            if (file := folder / _SHARES[version]).exists():
                file.write_text(str(shares))

    def _may_stay(self) -> bool:
        """Whether one more group may keep what it read of the host's files, and so stay in the kernel."""
        now = time.monotonic()
        next_may_stay = max(self._next_may_stay, now - _MOST_STAYING * _STAYING_S) + _STAYING_S
        if next_may_stay > now:
            return False
        self._next_may_stay = next_may_stay
        return True

    def close(self) -> None:
        """Remove what is left, slots included."""
        for folder in self._own.folders.values():
            _remove(folder)


class SlotGroup:
    """The group of one slot. Its files stay open: they are read for every program."""

    def __init__(self, hierarchy: Hierarchy, may_stay: Callable[[], bool] = lambda: True) -> None:
        self._hierarchy = hierarchy
        self._version = hierarchy.version
        self._may_stay = may_stay
        for folder in hierarchy.folders.values():
            _remove(folder)
            folder.mkdir()
        self._memory = hierarchy.folders["memory"]
        self._pids = hierarchy.folders.get("pids", self._memory)
        with contextlib.suppress(OSError):  # no swap accounting
            (self._memory / _NO_SWAP[self._version]).write_text("0")
        names = _FILES[self._version]
        self._limits = (sys.maxsize, 0)
        self._fds: dict[str, int | None] = {}
        try:
            self._fds.update((role, _open(self._memory / name)) for role, name in names.items())
            self._fds.update((role, _open(self._pids / name)) for role, name in _PIDS_FILES.items())
        except OSError:
            self.close()
            raise

    @property
    def entrances(self) -> list[Path]:
        """The files that a process writes its pid to in order to join."""
        return [folder / "cgroup.procs" for folder in self._hierarchy.folders.values()]

    @property
    def cpu_meter(self) -> Path:
        if self._version == 1:
            return self._hierarchy.folders["cpuacct"] / "cpuacct.usage"
        return self._memory / "cpu.stat"

    def limit(self, memory_bytes: int, processes: int) -> None:
        """Bound the slot; only what differs from the last call is written. Raises OSError."""
        if self._limits == (memory_bytes, processes):
            return
        # In version 1 memory alone may never be bounded higher than memory with swap: the order depends on the direction.
        bounds = [("memory", memory_bytes), ("memory and swap", memory_bytes + _SWAP_BYTES)]
        for role, most in bounds if memory_bytes < self._limits[0] else reversed(bounds):
            _write(self._fds.get(role), most)
        _write(self._fds["processes"], processes)
        self._limits = (memory_bytes, processes)

    def reset_peak(self) -> None:
        """Forget the peak. Kernels before 6.12 cannot in version 2: there the peak is that of the slot's life."""
        fd = self._fds["peak"]
        if fd is not None:
            with contextlib.suppress(OSError):
                os.pwrite(fd, b"0", 0)

    def read(self) -> Readings:
        """What was counted so far. Raises OSError."""
        now = _number(self._fds["now"])
        events = _text(self._fds["events"])
        return Readings(
            oom_kills=_field(events, b"oom_kill"),
            memory_refusals=_field(events, b"max") if self._version == 2 else _number(self._fds["refusals"]),
            refused_forks=_field(_text(self._fds["forks"]), b"max"),
            memory_bytes=now,
            peak_memory_bytes=max(now, _number(self._fds["peak"])),
        )

    def kernel_bytes(self) -> int:
        """What the kernel itself holds for the group, such as names that were looked up: it would stay, in nobody's account."""
        with contextlib.suppress(OSError):
            if self._version == 1:
                return int((self._memory / "memory.kmem.usage_in_bytes").read_text())
            return _field((self._memory / "memory.stat").read_bytes(), b"slab_reclaimable")
        return 0

    def processes(self) -> int:
        """How many processes and threads are in the slot now."""
        return int((self._pids / "pids.current").read_text())

    def close(self) -> None:
        """Kill what is inside and remove the group. Raises OSError."""
        for fd in self._fds.values():
            if fd is not None:
                os.close(fd)
        may_stay = self.kernel_bytes() < _MOST_KERNEL_BYTES and self._may_stay()
        for folder in self._hierarchy.folders.values():
            _remove(folder, may_stay=may_stay)


_NO_SWAP = {1: "memory.swappiness", 2: "memory.swap.max"}
_PIDS_FILES = {"processes": "pids.max", "forks": "pids.events"}
_FILES = {
    1: {
        "memory": "memory.limit_in_bytes",
        "memory and swap": "memory.memsw.limit_in_bytes",
        "events": "memory.oom_control",
        "refusals": "memory.failcnt",
        "now": "memory.usage_in_bytes",
        "peak": "memory.max_usage_in_bytes",
    },
    2: {"memory": "memory.max", "events": "memory.events", "now": "memory.current", "peak": "memory.peak"},
}


def sweep(mounts: Mapping[str, Path] | None = None) -> list[str]:
    """Remove the groups of engines that live no more, wherever they were; returns their names.

    What cannot be removed, such as another user's, stays for somebody who can. So does what belongs to another pid namespace,
    such as another container's: who lives there cannot be told from here.
    """
    mounts = read_mounts(host_mounts()) if mounts is None else mounts
    dead = set()
    for mount in set(mounts.values()):
        for folder, inner, _ in mount.walk():
            for name in [entry for entry in inner if entry.startswith(PREFIX)]:
                inner.remove(name)
                pid, start, namespace, *_ = [*name.removeprefix(PREFIX).split("-"), "", ""]
                if namespace == _pid_namespace() and _start_time(int(pid)) != start:
                    with contextlib.suppress(OSError):
                        _remove(folder / name)
                        dead.add(name)
    return sorted(dead)


def _remove(folder: Path, *, may_stay: bool = True) -> None:
    """Kill every process in a group and below, then remove it. Raises OSError where that takes too long.

    The kernel keeps a group that is gone for as long as it has pages that the group was the first to read.
    """
    if not folder.is_dir():
        return
    for inner in [entry for entry in folder.iterdir() if entry.is_dir()]:
        _remove(inner)
    deadline = time.monotonic() + _EMPTYING_MS / 1000
    while True:
        pids = (folder / "cgroup.procs").read_text().split()
        for pid in map(int, pids):
            with contextlib.suppress(ProcessLookupError):
                if pid > 0:  # 0 is a process of another pid namespace, and to kill it would mean us
                    os.kill(pid, 9)
        if not pids and not may_stay:
            _drop_pages(folder)
        try:
            folder.rmdir()
            return
        except FileNotFoundError:
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.005)


def _drop_pages(folder: Path) -> None:
    """Also those that others will have to read again."""
    with contextlib.suppress(OSError):  # not the folder of the memory controller, or some pages stay
        if (everything := folder / "memory.force_empty").exists():  # version 1
            everything.write_text("0")
        elif (now := folder / "memory.current").exists():
            (folder / "memory.reclaim").write_text(now.read_text())


def _own_name() -> str:
    return f"{PREFIX}{os.getpid()}-{_start_time(os.getpid())}-{_pid_namespace()}"


def _pid_namespace() -> str:
    return str(Path("/proc/self/ns/pid").stat().st_ino)


def _start_time(pid: int) -> str:
    """When a process started, in clock ticks since boot; empty where there is none. Raises OSError."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (FileNotFoundError, ProcessLookupError):  # no other error may make a living engine a dead one
        return ""


def _open(file: Path) -> int | None:
    """A descriptor, None where this kernel has no such file. Raises OSError where there is one that cannot be opened."""
    for flags in (os.O_RDWR, os.O_RDONLY):
        try:
            return os.open(file, flags | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except PermissionError:
            continue  # one that can only be read
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(file))


def _write(fd: int | None, number: int) -> None:
    if fd is not None:
        os.pwrite(fd, str(number).encode(), 0)


def _text(fd: int | None) -> bytes:
    return os.pread(fd, 4096, 0) if fd is not None else b""


def _number(fd: int | None) -> int:
    return int(_text(fd) or 0)


def _field(text: bytes, name: bytes) -> int:
    for line in text.splitlines():
        key, _, value = line.partition(b" ")
        if key == name:
            return int(value)
    return 0
