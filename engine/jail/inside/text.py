"""Gives a slot its own copy of the interpreter's code, in place of the pages that all processes of the host share.

Who shares pages shares what the processor's caches keep of them: machine code that flushes a library out of them makes everybody
slow who executes it, on any core, and learns from how soon it is there again what they execute. So code is mapped from a memory
file instead, at the same addresses. Cells map it as they would map the library: nothing is copied for them.
"""

import contextlib
import ctypes
import fcntl
import os
from collections.abc import Iterator

_READ_AND_EXECUTE, _MAP_PRIVATE_FIXED = 5, 2 | 16
_MFD_NOEXEC_SEAL = 8
_NEVER_CHANGED = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
"""All programs of the slot execute it: whatever else holds, none may write to it."""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
_libc.mmap.restype = ctypes.c_void_p


def make_own() -> None:
    """All code that is mapped by now. Where the kernel refuses, it stays shared."""
    with contextlib.suppress(OSError), open("/proc/self/mem", "rb", buffering=0) as memory:
        copy = _memory_file()
        for start, end in list(_code()):
            offset = os.lseek(copy, 0, os.SEEK_END)
            os.write(copy, os.pread(memory.fileno(), end - start, start))
            if os.fstat(copy).st_size == offset + end - start:
                _libc.mmap(start, end - start, _READ_AND_EXECUTE, _MAP_PRIVATE_FIXED, copy, offset)
        fcntl.fcntl(copy, fcntl.F_ADD_SEALS, _NEVER_CHANGED)
        os.close(copy)


def _memory_file() -> int:
    """One that is allowed where memory files are not to be executed, which is about programs and no mappings. Raises OSError."""
    with contextlib.suppress(OSError):  # before Linux 6.3
        return os.memfd_create("text", os.MFD_CLOEXEC | _MFD_NOEXEC_SEAL)
    return os.memfd_create("text", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)


def _code() -> Iterator[tuple[int, int]]:
    """Where mappings of it begin and end."""
    with open("/proc/self/maps") as maps:
        for line in maps:
            addresses, permissions, *_, name = line.split(maxsplit=5)
            if permissions == "r-xp" and name.startswith("/"):
                start, end = addresses.split("-")
                yield int(start, 16), int(end, 16)
