"""The system call filters of a slot and of its cells, as BPF programs.

    slot filter    what syscalls.txt lists, and what it takes to close a cell off: installed once, by the zygote
    cell filter    takes the latter away again: a short one, because the kernel compiles it anew for every cell

A cell has both, and a call is allowed where both allow it: so a cell may call what is listed. Anything else answers ENOSYS,
which is what a kernel that lacks the call would say, so that libraries fall back to older calls. Four calls are decided by their
argument or refused by name. A call of another architecture (32-bit calls on a 64-bit kernel) kills the process.
"""

import errno
import platform
import struct
from dataclasses import dataclass
from importlib import resources

_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_LOAD, _JUMP_EQUAL, _JUMP_GREATER_EQUAL, _JUMP_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_NAMESPACES = 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000 | 0x00020000 | 0x00000080
"""CLONE_NEW{CGROUP,UTS,IPC,USER,PID,NET,NS,TIME}."""
_FAMILIES = (1,)
"""AF_UNIX alone: there is no network to speak to, and what a slot's loopback counts would tell one program of another."""


@dataclass(frozen=True)
class _Architecture:
    audit: int
    column: int
    clone: int
    clone3: int
    socket: int
    socketpair: int
    closing_off: tuple[int, ...]
    """mount, unshare, setns, capset, landlock_restrict_self."""


ARCHITECTURES = {
    "x86_64": _Architecture(
        audit=0xC000003E, column=1, clone=56, clone3=435, socket=41, socketpair=53, closing_off=(165, 272, 308, 126, 446)
    ),
    "aarch64": _Architecture(
        audit=0xC00000B7, column=2, clone=220, clone3=435, socket=198, socketpair=199, closing_off=(40, 97, 268, 91, 446)
    ),
}


def slot_filter(machine: str | None = None) -> bytes:
    """The BPF instructions for this machine's architecture. Raises KeyError for one that is not known."""
    architecture = ARCHITECTURES[machine or platform.machine()]
    head = [
        _jump(_LOAD, _ARCHITECTURE),
        _jump(_JUMP_EQUAL, architecture.audit, 1, 0),
        _jump(_RETURN, _KILL),
        _jump(_LOAD, _NUMBER),
        _jump(_JUMP_EQUAL, architecture.clone, 0, 4),
        _jump(_LOAD, _FIRST_ARGUMENT),
        _jump(_JUMP_SET, _NAMESPACES, 0, 1),
        _refuse(errno.EPERM),
        _jump(_RETURN, _ALLOW),
        _jump(_JUMP_EQUAL, architecture.socket, 1, 0),
        _jump(_JUMP_EQUAL, architecture.socketpair, 0, 3 + len(_FAMILIES)),
        _jump(_LOAD, _FIRST_ARGUMENT),
        *(_jump(_JUMP_EQUAL, family, len(_FAMILIES) - index, 0) for index, family in enumerate(_FAMILIES)),
        _refuse(errno.EAFNOSUPPORT),
        _jump(_RETURN, _ALLOW),
    ]
    allowed = _listed(architecture) - {architecture.clone3} | set(architecture.closing_off)
    return b"".join(head + _search(_edges(allowed), allowed=False))


def cell_filter(machine: str | None = None) -> bytes:
    """As `slot_filter`, which has to be there already: what it refuses, calls of other architectures included, stays refused."""
    calls = ARCHITECTURES[machine or platform.machine()].closing_off
    refused = [_jump(_JUMP_EQUAL, call, len(calls) - index, 0) for index, call in enumerate(calls)]
    return b"".join([_jump(_LOAD, _NUMBER), *refused, _jump(_RETURN, _ALLOW), _refuse(errno.ENOSYS)])


def _listed(architecture: _Architecture) -> set[int]:
    numbers = set()
    for line in resources.files(__package__).joinpath("syscalls.txt").read_text().splitlines():
        fields = line.split()
        if fields and fields[0] != "#" and fields[architecture.column] != "-":
            numbers.add(int(fields[architecture.column]))
    return numbers


def _edges(numbers: set[int]) -> list[int]:
    """Where, counting upwards from 0, calls begin to be allowed, begin to be refused, begin to be allowed, ..."""
    candidates = numbers | {number + 1 for number in numbers}
    return sorted(number for number in candidates if (number in numbers) != (number - 1 in numbers))


def _search(edges: list[int], *, allowed: bool) -> list[bytes]:
    """A binary search for the number; `allowed` says what holds below the first edge."""
    if not edges:
        return [_jump(_RETURN, _ALLOW) if allowed else _refuse(errno.ENOSYS)]
    middle = len(edges) // 2
    below = _search(edges[:middle], allowed=allowed)
    above = _search(edges[middle + 1 :], allowed=allowed ^ (middle % 2 == 0))
    return [_jump(_JUMP_GREATER_EQUAL, edges[middle], len(below), 0), *below, *above]


def _refuse(number: int) -> bytes:
    return _jump(_RETURN, _ERRNO | number)


def _jump(code: int, operand: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """One instruction, struct sock_filter. Raises struct.error where a jump is longer than 255 instructions."""
    return struct.pack("=HBBI", code, if_true, if_false, operand)
