"""What /proc tells of a slot's processes, read so that nothing of it stays in the zygote's memory.

Cells are forked from the zygote, and what Python reads and lets go of stays in its heap: strings, tables, buffers of the C
library. A program would find there how much time those before it took. So files are read into buffers of fixed places, numbers
are taken out of them digit by digit, and what is remembered from one look to the next lies in tables of fixed places: `wipe`
empties all of them. Left are the objects that single numbers become, which are written over.
"""

import ctypes
import os
from collections.abc import Iterator

_GETDENTS = {"x86_64": 217, "aarch64": 61}[os.uname().machine]
_RECORD_LENGTH, _NAME = 16, 19
"""Where they are in a struct linux_dirent64."""
_ENTRIES_BYTES, _PATH_BYTES, _TEXT_BYTES = 1 << 13, 64, 1 << 10
_LARGE_NUMBER, _NUMBERS_LEFT = 1 << 40, 100
"""As large an object as other numbers are; more than are alive at once while a file is read."""
_MOST_PROCESSES = 4096
"""That are remembered: more than a slot may have."""
_ZERO, _NINE, _SPACE = b"0"[0], b"9"[0], b" "[0]

_libc = ctypes.CDLL(None)
_libc.syscall.argtypes = (ctypes.c_long,) * 4
_libc.openat.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_int)
_libc.read.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t)
_entries = (ctypes.c_ubyte * _ENTRIES_BYTES)()
_path = (ctypes.c_ubyte * _PATH_BYTES)()
_text = (ctypes.c_ubyte * _TEXT_BYTES)()


class Table:
    """A number for each process, those of the last look beside those of this one. Processes come in the order of their ids."""

    def __init__(self) -> None:
        self._last, self._now = ((ctypes.c_uint64 * (2 * _MOST_PROCESSES))() for _ in range(2))
        self._last_length = self._length = self._at = self._longest = 0
        self.of_the_gone = 0
        """The sum of what was last noted of those that were not there at the look after."""

    def begin(self) -> None:
        """Another look."""
        self._last, self._now = self._now, self._last
        self._last_length, self._length, self._at = self._length, 0, 0
        self._longest = max(self._longest, self._last_length)

    def exchange(self, pid: int, number: int | None) -> int:
        """Note the number, or the last one again where there is none; returns the last one, 0 where there was none."""
        while self._at < self._last_length and self._last[self._at] < pid:
            self._pass()
        known = self._at < self._last_length and self._last[self._at] == pid
        last: int = self._last[self._at + 1] if known else 0
        self._at += 2 * known
        if self._length < 2 * _MOST_PROCESSES:
            self._now[self._length], self._now[self._length + 1] = pid, last if number is None else number
            self._length += 2
        return last

    def end(self) -> None:
        """All processes that are there have been noted."""
        while self._at < self._last_length:
            self._pass()

    def total(self) -> int:
        """The sum of what this look noted."""
        return sum(self._now[at] for at in range(1, self._length, 2))

    def wipe(self) -> None:
        """Forget everything, without a trace."""
        for table in (self._last, self._now):
            ctypes.memset(table, 0, ctypes.sizeof(ctypes.c_uint64) * max(self._longest, self._length))
        self._last_length = self._length = self._at = self._longest = self.of_the_gone = 0

    def _pass(self) -> None:
        self.of_the_gone += self._last[self._at + 1]
        self._at += 2


def look(folder: int, file: bytes, fields: range) -> Iterator[tuple[int, int | None]]:
    """For every process of the slot but the zygote, by its id, the sum of those fields of its file; None where it is gone.

    `folder` is an open /proc, `file` begins with a slash. Fields are counted behind the name, which may hold anything.
    """
    os.lseek(folder, 0, os.SEEK_SET)
    while (length := _libc.syscall(_GETDENTS, folder, ctypes.addressof(_entries), _ENTRIES_BYTES)) > 0:
        at = 0
        while at < length:
            pid, name_length = _number(_entries, at + _NAME)
            if pid > 1:
                yield pid, _sum(folder, at + _NAME, name_length, file, fields)
            at += _entries[at + _RECORD_LENGTH] | _entries[at + _RECORD_LENGTH + 1] << 8


def wipe() -> None:
    """Leave nothing of what `look` read."""
    for buffer in (_entries, _path, _text):
        ctypes.memset(buffer, 0, ctypes.sizeof(buffer))


def write_over_numbers() -> None:
    """Leave nothing of the numbers that were computed last: new ones take the places of the objects that they were."""
    list(range(_LARGE_NUMBER, _LARGE_NUMBER + _NUMBERS_LEFT))


def _sum(folder: int, name: int, name_length: int, file: bytes, fields: range) -> int | None:
    ctypes.memmove(_path, ctypes.addressof(_entries) + name, name_length)
    ctypes.memmove(ctypes.addressof(_path) + name_length, file, len(file) + 1)
    fd = _libc.openat(folder, _path, os.O_RDONLY | os.O_CLOEXEC)
    if fd < 0:
        return None
    length = _libc.read(fd, _text, _TEXT_BYTES - 1)
    os.close(fd)
    if length <= 0:
        return None
    _text[length] = 0
    at = _behind_the_name(length)
    total = 0
    for field in range(fields.stop):
        number, digits = _number(_text, at)
        total += number if field in fields else 0
        at += max(digits, 1)
        while at < length and _text[at] != _SPACE:
            at += 1
        at += 1
    return total


def _behind_the_name(length: int) -> int:
    for at in range(length - 1, -1, -1):
        if _text[at] == b")"[0]:
            return at + 2
    return 0


def _number(buffer: "ctypes.Array[ctypes.c_ubyte]", at: int) -> tuple[int, int]:
    """The number that stands there, 0 where there is none, and how many digits it has."""
    number, began = 0, at
    while at < len(buffer) and _ZERO <= buffer[at] <= _NINE:
        number = number * 10 + buffer[at] - _ZERO
        at += 1
    return number, at - began
