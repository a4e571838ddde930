"""Turns a freshly forked process into a cell: its own namespaces and files, its limits, no privileges, a system call filter.

The order is what makes it safe: namespaces and mounts while the process may still make them, then limits, then the uid, the
capabilities and the filter, after which nothing can be taken back. The process is init of its pid namespace: when it
ends, the kernel kills whatever it left behind.
"""

import os
import resource
from dataclasses import dataclass
from typing import Any

from . import kernel

HOME = "/box"
"""The working directory and the only place to write to: empty for every program."""
_INODES = 16_384


@dataclass(frozen=True, slots=True)
class Bars:
    """What is the same for every cell of a slot: the filter, and (uid, gid) of candidate and examiner (None: the zygote's)."""

    seccomp: bytes
    ids: tuple[tuple[int, int], tuple[int, int]] | None
    limit_by_rlimits: bool
    """No cgroup bounds the memory and the processes, so resource limits of each process have to."""


def enter(bars: Bars, role: int, limits: dict[str, Any], keep: list[int]) -> None:
    """Never to be left. `role` is 0 for the candidate, 1 for the examiner; of file descriptors 0, 1, 2 and `keep` stay open.

    Raises OSError.
    """
    os.unshare(os.CLONE_NEWNS | os.CLONE_NEWIPC)
    ids = bars.ids[role] if bars.ids is not None else (os.getuid(), os.getgid())
    options = f"size={limits['memory_bytes']},nr_inodes={_INODES},mode=0755,uid={ids[0]},gid={ids[1]}"
    kernel.mount(b"tmpfs", HOME.encode(), kernel.MS_NOSUID | kernel.MS_NODEV, options.encode())
    _offer_to_the_oom_killer()
    kernel.mount(b"proc", b"/proc", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC | kernel.MS_RDONLY)
    os.chdir(HOME)
    _close_all_but(keep)
    _limit(limits, bars.limit_by_rlimits)
    if bars.ids is not None:
        os.setgroups([])
        os.setresgid(*[ids[1]] * 3)
        os.setresuid(*[ids[0]] * 3)
    kernel.drop_capabilities()
    kernel.own_proc_entries()
    kernel.forbid_new_privileges()
    kernel.install_seccomp(bars.seccomp)


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
    with open("/proc/self/oom_score_adj", "wb", buffering=0) as file:
        file.write(b"1000")


def _close_all_but(keep: list[int]) -> None:
    first = 3
    for fd in sorted(keep):
        os.closerange(first, fd)
        first = fd + 1
    os.closerange(first, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _limit(limits: dict[str, Any], limit_by_rlimits: bool) -> None:
    def bound(what: int, value: int) -> None:
        resource.setrlimit(what, (value, value))

    bound(resource.RLIMIT_CORE, 0)
    bound(resource.RLIMIT_MSGQUEUE, 0)
    bound(resource.RLIMIT_NOFILE, limits["open_files"])
    bound(resource.RLIMIT_FSIZE, max(limits["file_size_bytes"], limits["output_bytes"] + 1))
    if limit_by_rlimits:
        bound(resource.RLIMIT_AS, limits["memory_bytes"] + limits["baseline_bytes"])
        bound(resource.RLIMIT_NPROC, limits["processes"])
