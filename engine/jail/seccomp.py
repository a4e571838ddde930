"""The system call filters of a slot and of its cells, as BPF programs.

    slot filter    what syscalls.txt lists, and what it takes to close a cell off: installed once, by the zygote
    cell filter    takes the latter away again: a short one, because the kernel compiles it anew for every cell
    memory files   refuses to make any: installed besides by a zygote that cannot keep them from being executed

A call is allowed where all of a cell's filters allow it: so a cell may call what is listed. Anything else answers ENOSYS,
which is what a kernel that lacks the call would say, so that libraries fall back to older calls. So does every call of another
architecture (32-bit calls on a 64-bit kernel): killing the process for it would be a line in the host's log each time, with a
name in it that the program chose. Some calls are decided by an argument. A few answer that they were done and are not: what they
do reaches the host or others, and a program in a cell hardly notices.
"""

import errno
import fcntl
import platform
import resource
import socket
import struct
from dataclasses import dataclass
from importlib import resources

_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_LOAD, _JUMP_EQUAL, _JUMP_GREATER_EQUAL, _JUMP_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_NAMESPACES = 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000 | 0x00020000 | 0x00000080
"""CLONE_NEW{CGROUP,UTS,IPC,USER,PID,NET,NS,TIME}."""
_SOCKET_OPTIONS = (2, 3, 4, 7, 8, 9, 13, 15, 16, 17, 18, 19, 20, 21, 30, 38, 39, 66, 67)
"""SO_{REUSEADDR,TYPE,ERROR,SNDBUF,RCVBUF,KEEPALIVE,LINGER,REUSEPORT,PASSCRED,PEERCRED,RCVLOWAT,SNDLOWAT,RCVTIMEO,SNDTIMEO,
ACCEPTCONN,PROTOCOL,DOMAIN,RCVTIMEO_NEW,SNDTIMEO_NEW}. No filters: the kernel compiles them into memory that all share."""
_DESCRIPTOR_COMMANDS = (
    *(fcntl.F_DUPFD, fcntl.F_DUPFD_CLOEXEC, fcntl.F_GETFD, fcntl.F_SETFD, fcntl.F_GETFL, fcntl.F_SETFL),
    *(fcntl.F_GETLK, fcntl.F_OFD_GETLK, fcntl.F_GETOWN, fcntl.F_GETSIG),
    *(fcntl.F_GETPIPE_SZ, fcntl.F_SETPIPE_SZ, fcntl.F_ADD_SEALS, fcntl.F_GET_SEALS),
)
_LOCKS = (fcntl.F_SETLK, fcntl.F_SETLKW, fcntl.F_OFD_SETLK, fcntl.F_OFD_SETLKW)
_DEVICE_COMMANDS = (0x5450, 0x5451, 0x5421, 0x541B)
"""FIO{NCLEX,CLEX,NBIO,NREAD}."""
_PROCESS_OPTIONS = (1, 2, 3, 4, 15, 16, 23, 30, 36, 37, 38, 39)
"""PR_{SET,GET}_{PDEATHSIG,DUMPABLE,NAME,CHILD_SUBREAPER,NO_NEW_PRIVS}, PR_GET_TIMERSLACK, PR_CAPBSET_READ."""
_SET_TIMER_SLACK = 29
"""Sleeps to the nanosecond end one by one, each in the time of whoever runs on that core."""
_MAP_HUGETLB, _MFD_HUGETLB, _MFD_EXEC, _RWF_DONTCACHE = 0x40000, 4, 0x10, 0x80
_MADV_MERGEABLE, _MADV_COLD, _MADV_PAGEOUT, _MADV_COLLAPSE = 12, 20, 21, 25


@dataclass(frozen=True)
class _Decision:
    """What is answered for the values of an argument, and for any other value. 0 says that the call was done, and it is not."""

    argument: int
    answers: dict[int, int]
    otherwise: int


def _allowed(argument: int, values: tuple[int, ...], otherwise: int) -> _Decision:
    return _Decision(argument, dict.fromkeys(values, _ALLOW), otherwise)


_DECIDED = {
    "socket": _allowed(0, (socket.AF_UNIX,), errno.EAFNOSUPPORT),  # no network, and no counters of one that others read
    "socketpair": _allowed(0, (socket.AF_UNIX,), errno.EAFNOSUPPORT),
    "setsockopt": _allowed(2, _SOCKET_OPTIONS, errno.ENOPROTOOPT),
    "getsockopt": _allowed(2, _SOCKET_OPTIONS, errno.ENOPROTOOPT),
    "fcntl": _Decision(1, dict.fromkeys(_DESCRIPTOR_COMMANDS, _ALLOW) | dict.fromkeys(_LOCKS, 0), errno.EINVAL),
    "ioctl": _allowed(1, _DEVICE_COMMANDS, errno.ENOTTY),
    "prctl": _Decision(0, dict.fromkeys(_PROCESS_OPTIONS, _ALLOW) | {_SET_TIMER_SLACK: 0}, errno.EINVAL),
    "setrlimit": _Decision(0, {resource.RLIMIT_CORE: errno.EPERM}, _ALLOW),
    # Pages that are merged tell that somebody has the same; those of libraries are in use by others.
    "madvise": _Decision(2, dict.fromkeys((_MADV_MERGEABLE, _MADV_COLD, _MADV_PAGEOUT, _MADV_COLLAPSE), errno.EINVAL), _ALLOW),
}
_WITHOUT = {
    "clone": (0, _NAMESPACES, errno.EPERM),
    "mmap": (3, _MAP_HUGETLB, errno.ENOMEM),  # huge pages come from a pool of the host's, which is in no memory account
    "memfd_create": (1, _MFD_HUGETLB | _MFD_EXEC, errno.EINVAL),  # the host runs modprobe for what it does not know to execute
    "sendto": (3, socket.MSG_OOB, errno.ENOTSUP),  # seldom used between local sockets, and more than once a way out of sandboxes
    "preadv2": (5, _RWF_DONTCACHE, errno.EOPNOTSUPP),  # as O_DIRECT
}
"""The argument of each that may have none of some bits, and what is answered where it has."""
_OPENING = {"open": 1, "openat": 2}
"""Which argument has the flags. Not O_DIRECT: that reads the disk each time, as fast as it can, for next to no CPU time."""
_SAID_TO_BE_DONE = ("fsync", "fdatasync", "sync_file_range", "msync", "fadvise64", "flock")
"""On a library of the host they write to disks, drop what others need, or keep others waiting. Locks are in no memory account."""


@dataclass(frozen=True)
class _Architecture:
    audit: int
    column: int
    direct: int
    """O_DIRECT."""
    closing_off: tuple[int, ...]
    """mount, unshare, setns, capset, landlock_restrict_self, seccomp, sched_setscheduler."""


ARCHITECTURES = {
    "x86_64": _Architecture(audit=0xC000003E, column=1, direct=0x4000, closing_off=(165, 272, 308, 126, 446, 317, 144)),
    "aarch64": _Architecture(audit=0xC00000B7, column=2, direct=0x10000, closing_off=(40, 97, 268, 91, 446, 277, 119)),
}


def slot_filter(machine: str | None = None) -> bytes:
    """The BPF instructions for this machine's architecture. Raises KeyError for one that is not known."""
    architecture = ARCHITECTURES[machine or platform.machine()]
    numbers = _listed(architecture)
    head = [
        _jump(_LOAD, _ARCHITECTURE),
        _jump(_JUMP_EQUAL, architecture.audit, 1, 0),
        _answer(errno.ENOSYS),
        _jump(_LOAD, _NUMBER),
        *_only(numbers["prlimit64"], _UNLESS_IT_SETS_THE_CORE_LIMIT),
        *_if(numbers["fcntl"], _unless_it_sets(architecture.direct)),
    ]
    opening = {name: (flags, architecture.direct, errno.EINVAL) for name, flags in _OPENING.items() if name in numbers}
    for name, (argument, bits, answer) in (_WITHOUT | opening).items():
        head += _only(numbers[name], [_load(argument), _jump(_JUMP_SET, bits, 0, 1), _answer(answer), _answer(_ALLOW)])
    for name, decision in _DECIDED.items():
        values = decision.answers.items()
        known = [step for value, answer in values for step in (_jump(_JUMP_EQUAL, value, 0, 1), _answer(answer))]
        head += _only(numbers[name], [_load(decision.argument), *known, _answer(decision.otherwise)])
    for name in _SAID_TO_BE_DONE:
        head += _only(numbers[name], [_answer(0)])
    return b"".join(head + _search(_edges({*numbers.values(), *architecture.closing_off}), allowed=False))


def cell_filter(machine: str | None = None) -> bytes:
    """As `slot_filter`, which has to be there already: what it refuses, calls of other architectures included, stays refused.

    A session is said to be made, and is not: each one is a group of its own for the scheduler, so that a program of a hundred
    sessions would have a hundred times the share of one that has one.
    """
    architecture = ARCHITECTURES[machine or platform.machine()]
    calls = architecture.closing_off
    session = _only(_listed(architecture)["setsid"], [_answer(0)])
    refused = [_jump(_JUMP_EQUAL, call, len(calls) - index, 0) for index, call in enumerate(calls)]
    return b"".join([_jump(_LOAD, _NUMBER), *session, *refused, _answer(_ALLOW), _answer(errno.ENOSYS)])


def memory_file_filter(machine: str | None = None) -> bytes:
    """As `cell_filter`."""
    number = _listed(ARCHITECTURES[machine or platform.machine()])["memfd_create"]
    return b"".join([_jump(_LOAD, _NUMBER), *_only(number, [_answer(errno.ENOSYS)]), _answer(_ALLOW)])


def _listed(architecture: _Architecture) -> dict[str, int]:
    rows = map(str.split, resources.files(__package__).joinpath("syscalls.txt").read_text().splitlines())
    return {row[0]: int(row[architecture.column]) for row in rows if row and row[0] != "#" and row[architecture.column] != "-"}


def _edges(numbers: set[int]) -> list[int]:
    """Where, counting upwards from 0, calls begin to be allowed, begin to be refused, begin to be allowed, ..."""
    candidates = numbers | {number + 1 for number in numbers}
    return sorted(number for number in candidates if (number in numbers) != (number - 1 in numbers))


def _search(edges: list[int], *, allowed: bool) -> list[bytes]:
    """A binary search for the number; `allowed` says what holds below the first edge."""
    if not edges:
        return [_answer(_ALLOW if allowed else errno.ENOSYS)]
    middle = len(edges) // 2
    below = _search(edges[:middle], allowed=allowed)
    above = _search(edges[middle + 1 :], allowed=allowed ^ (middle % 2 == 0))
    return [_jump(_JUMP_GREATER_EQUAL, edges[middle], len(below), 0), *below, *above]


def _only(call: int, steps: list[bytes]) -> list[bytes]:
    """Steps for one call, whose number has been loaded; the last one ends the filter."""
    return [_jump(_JUMP_EQUAL, call, 0, len(steps)), *steps]


def _if(call: int, steps: list[bytes]) -> list[bytes]:
    """Steps for one call that may come to no answer."""
    return _only(call, [*steps, _jump(_LOAD, _NUMBER)])


def _unless_it_sets(flag: int) -> list[bytes]:
    """An error for fcntl where it would set that flag of a file."""
    refused = [_load(2), _jump(_JUMP_SET, flag, 0, 1), _answer(errno.EINVAL)]
    return [_load(1), _jump(_JUMP_EQUAL, fcntl.F_SETFL, 0, len(refused)), *refused]


def _load(argument: int, half: int = 0) -> bytes:
    """Half 0 is the lower one: what the kernel looks at of an int."""
    return _jump(_LOAD, _FIRST_ARGUMENT + 8 * argument + 4 * half)


def _answer(answer: int) -> bytes:
    return _jump(_RETURN, answer if answer == _ALLOW else _ERRNO | answer)


def _jump(code: int, operand: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """One instruction, struct sock_filter. Raises struct.error where a jump is longer than 255 instructions."""
    return struct.pack("=HBBI", code, if_true, if_false, operand)


_UNLESS_IT_SETS_THE_CORE_LIMIT = [
    _load(1),
    _jump(_JUMP_EQUAL, resource.RLIMIT_CORE, 1, 0),
    _answer(_ALLOW),
    _load(2),
    _jump(_JUMP_EQUAL, 0, 0, 3),
    _load(2, half=1),
    _jump(_JUMP_EQUAL, 0, 0, 1),
    _answer(_ALLOW),
    _answer(errno.EPERM),
]
"""It may be asked for, which is what a new limit at address 0 means."""
