"""System calls that Python's standard library does not offer, through ctypes."""

import contextlib
import ctypes
import os
import re
import struct
import time

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8

_PR_CAPBSET_DROP = 24
_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
_LINUX_CAPABILITY_VERSION_3 = 0x20080522
_SECCOMP, _SECCOMP_SET_MODE_FILTER = {"x86_64": 317, "aarch64": 277}[os.uname().machine], 1
_LANDLOCK_CREATE_RULESET, _LANDLOCK_ADD_RULE, _LANDLOCK_RESTRICT_SELF = 444, 445, 446
_LANDLOCK_VERSION, _PATH_BENEATH = 1, 1
_MAKE_CHAR, _MAKE_BLOCK, _REFER = 1 << 6, 1 << 11, 1 << 13
_BIND_AND_CONNECT_TCP, _ABSTRACT_SOCKETS_AND_SIGNALS = 3, 3
_OLDEST_LANDLOCK = 6
"""Linux 6.12: the first one that knows all of these."""
_LANDLOCK_THAT_LOGS, _LOG_NOTHING = 7, 1
"""Linux 6.15: what is refused would be a line in the host's audit each time."""
_RUNNING_MEMORY_FILES = "/proc/sys/vm/memfd_noexec"

# Made once: making a ctypes type after a fork costs more than the call that uses it.
_CAPABILITY_HEADER = (ctypes.c_uint32 * 2)(_LINUX_CAPABILITY_VERSION_3, 0)
_NO_CAPABILITIES = (ctypes.c_uint32 * 6)()

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
_libc.prctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_ulong)
_libc.syscall.argtypes = (ctypes.c_long,) * 5
_libc.capset.argtypes = (ctypes.c_void_p, ctypes.c_void_p)  # found here: looking up a name touches pages of every library
with open("/proc/sys/kernel/cap_last_cap") as _file:
    _LAST_CAPABILITY = int(_file.read())


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


class Filter:
    """A system call filter, given as BPF instructions and kept ready to install."""

    def __init__(self, instructions: bytes) -> None:
        self._program = _Program(len(instructions) // 8, instructions)
        self.address = ctypes.addressof(self._program)


def _check(result: int, call: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")


def version() -> tuple[int, int]:
    """Of the kernel, such as (6, 12)."""
    major, minor, *_ = re.findall(r"\d+", os.uname().release)
    return int(major), int(minor)


def mount(kind: bytes, target: bytes, flags: int, options: bytes | None = None) -> None:
    """Mount a new file system of that kind, such as b"tmpfs". Raises OSError."""
    _check(_libc.mount(kind, target, kind, flags, options), "mount " + kind.decode())


def regain_no_capabilities() -> None:
    """No exec of this process or its children may ever give a capability. Raises OSError."""
    _check(_libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, None, 0, 0), "prctl ambient")
    for capability in range(_LAST_CAPABILITY + 1):
        _check(_libc.prctl(_PR_CAPBSET_DROP, capability, None, 0, 0), "prctl bounding set")


def drop_capabilities() -> None:
    """Give up every capability held. Raises OSError."""
    _check(_libc.capset(_CAPABILITY_HEADER, _NO_CAPABILITIES), "capset")


def forbid_new_privileges() -> None:
    """No exec may ever add a privilege again. Raises OSError."""
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, None, 0, 0), "prctl no_new_privs")


def own_proc_entries() -> None:
    """Let this process read its own /proc entries again, which a change of uid takes away. Raises OSError."""
    _check(_libc.prctl(_PR_SET_DUMPABLE, 1, None, 0, 0), "prctl dumpable")


def forbid_running_memory_files() -> bool:
    """Make it so for this pid namespace and those below it; whether that can be done, which takes Linux 6.3 and root."""
    with contextlib.suppress(OSError):
        if _running_memory_files() == 0:
            with open(_RUNNING_MEMORY_FILES, "w") as setting:
                setting.write("1")
        return _running_memory_files() > 0
    return False


def _running_memory_files() -> int:
    """0: they can be executed; 1 or 2: they cannot. Raises OSError where the kernel does not know of it."""
    with open(_RUNNING_MEMORY_FILES) as setting:
        return int(setting.read())


def install_seccomp(program: Filter) -> None:
    """Filter the system calls of this process and its children. Raises OSError."""
    _check(_libc.syscall(_SECCOMP, _SECCOMP_SET_MODE_FILTER, 0, program.address, 0), "seccomp")


def landlock() -> int | None:
    """A ruleset without device nodes, TCP, and abstract sockets and signals of others; None where the kernel has no such thing.

    It names no files: the ones that a cell may write to do not exist yet. Renaming from one folder to another is taken away by
    every ruleset unless a rule allows it.
    """
    if _landlock_version() < _OLDEST_LANDLOCK:
        return None
    handled = (ctypes.c_uint64 * 3)(_MAKE_CHAR | _MAKE_BLOCK | _REFER, _BIND_AND_CONNECT_TCP, _ABSTRACT_SOCKETS_AND_SIGNALS)
    ruleset: int = _libc.syscall(_LANDLOCK_CREATE_RULESET, ctypes.addressof(handled), ctypes.sizeof(handled), 0, 0)
    root = os.open("/", os.O_PATH)
    rule = ctypes.create_string_buffer(struct.pack("=Qi", _REFER, root))
    _check(_libc.syscall(_LANDLOCK_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.addressof(rule), 0), "landlock_add_rule")
    os.close(root)
    return ruleset


def _landlock_version() -> int:
    version: int = _libc.syscall(_LANDLOCK_CREATE_RULESET, 0, 0, _LANDLOCK_VERSION, 0)
    return version


_restrict_flags = _LOG_NOTHING if _landlock_version() >= _LANDLOCK_THAT_LOGS else 0


def restrict(ruleset: int) -> None:
    """Hold this process and its children to a ruleset; they cannot mount any more. Raises OSError."""
    _check(_libc.syscall(_LANDLOCK_RESTRICT_SELF, ruleset, _restrict_flags, 0, 0), "landlock_restrict_self")


def process_cpu_ns(pid: int) -> int:
    """CPU time in ns that the threads of one process have used, its children not included. Raises OSError when it is gone."""
    return time.clock_gettime_ns((~pid << 3) | 2)
