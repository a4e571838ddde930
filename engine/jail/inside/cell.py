"""Turns a freshly forked process into a cell: its own namespaces and files, its limits, no privileges, a system call filter.

The order is what makes it safe: namespaces and mounts while the process may still make them, then limits, then the uid, the
capabilities and the filter, after which nothing can be taken back. The process is init of its pid namespace: when it
ends, the kernel kills whatever it left behind.
"""

import os
import resource
from typing import Any, NamedTuple

from . import kernel

HOME = "/box"
"""The working directory and the only place to write to: empty for every program."""
_HOME = HOME.encode()
_INODES = 16_384
_SIGNALS = 256
"""Signals that wait, and timers that send them: memory of the kernel that is in no account but the host's root's."""
_ANY_PRIORITY = os.sched_param(0)
_PROC_OPTIONS = b"subset=pid" if kernel.version() >= (5, 8) else None
"""What is the host's, such as its memory, its interrupts and its settings, is not in a cell's /proc."""
_MOST_FILES = resource.getrlimit(resource.RLIMIT_NOFILE)[0]


class Bars(NamedTuple):
    """What is the same for every cell of a slot: the filters, and (uid, gid) of candidate and examiner (None: the zygote's)."""

    slot_filter: kernel.Filter
    cell_filter: kernel.Filter
    memory_file_filter: kernel.Filter
    ids: tuple[tuple[int, int], tuple[int, int]] | None
    ruleset: int | None
    """Of Landlock, where the kernel has it."""
    limit_by_rlimits: bool
    """No cgroup bounds the memory and the processes, so resource limits of each process have to."""


def bar_for_good(bars: Bars) -> None:
    """Bars that hold for the zygote and therefore for all its cells, which need not set them again. Raises OSError."""
    kernel.regain_no_capabilities()
    kernel.forbid_new_privileges()
    _lower(resource.RLIMIT_CORE, 1)  # where a program of the host takes cores, it takes them at 0 as well
    _lower(resource.RLIMIT_SIGPENDING, _SIGNALS)
    _lower(resource.RLIMIT_MSGQUEUE, 0)
    if bars.ids is not None:
        os.setgroups([])
    if not kernel.forbid_running_memory_files():
        kernel.install_seccomp(bars.memory_file_filter)
    kernel.install_seccomp(bars.slot_filter)


def _lower(limit: int, value: int) -> None:
    hard = resource.getrlimit(limit)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(limit, (value, value))


def enter(bars: Bars, role: int, limits: dict[str, Any], keep: list[int]) -> None:
    """Never to be left. `role` is 0 for the candidate, 1 for the examiner; of file descriptors 0, 1, 2 and `keep` stay open.

    The slot's IPC namespace needs no copy: the filter knows no call that makes or finds anything in it. Raises OSError.
    """
    os.setsid()  # what is sent to a group or session, such as a signal or a priority, knows no namespaces
    os.unshare(os.CLONE_NEWNS)
    uid, gid = bars.ids[role] if bars.ids is not None else (os.getuid(), os.getgid())
    options = b"size=%d,nr_inodes=%d,mode=0755,uid=%d,gid=%d" % (limits["memory_bytes"], _INODES, uid, gid)
    kernel.mount(b"tmpfs", _HOME, kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC, options)
    _offer_to_the_oom_killer()
    kernel.mount(b"proc", b"/proc", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC | kernel.MS_RDONLY, _PROC_OPTIONS)
    if bars.ruleset is not None:
        kernel.restrict(bars.ruleset)
    os.chdir(HOME)
    first = 3
    for fd in sorted(keep):
        os.closerange(first, fd)
        first = fd + 1
    os.closerange(first, _MOST_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits["open_files"], limits["open_files"]))
    file_size = max(limits["file_size_bytes"], limits["output_bytes"] + 1)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
    if bars.limit_by_rlimits:
        address_space = limits["memory_bytes"] + limits["baseline_bytes"]
        resource.setrlimit(resource.RLIMIT_AS, (address_space, address_space))
        resource.setrlimit(resource.RLIMIT_NPROC, (limits["processes"], limits["processes"]))
    if bars.ids is not None:
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    kernel.drop_capabilities()
    os.sched_setscheduler(0, os.SCHED_BATCH, _ANY_PRIORITY)  # who wakes up waits until others have had their turn
    kernel.own_proc_entries()
    kernel.install_seccomp(bars.cell_filter)


def write_files(files: dict[str, bytes]) -> None:
    """Lay files into the working directory. Raises OSError."""
    for name, content in files.items():
        folder = os.path.dirname(name)
        if folder:
            os.makedirs(folder, exist_ok=True)
        with open(name, "xb") as file:
            file.write(content)


def _offer_to_the_oom_killer() -> None:
    """Before /proc is read-only: a cell that could take this back would have the zygote killed in its place."""
    file = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
    os.write(file, b"1000")
    os.close(file)
