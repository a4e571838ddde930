"""A file of JSON lines that grows as things finish, so that whoever is killed has lost nothing that was finished.

Each line is one write at the end of the file. A process that dies in the middle of one leaves a torn line: the next one to open
the file cuts it off and goes on behind the last whole line. A full disk tears a line as well; then the writer itself cuts it off,
since other threads may go on writing.
"""

import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Journal:
    """Use `journal`. `add` may be called from any thread."""

    def __init__(self, file: int, lines: list[dict[str, Any]]) -> None:
        self._file = file
        self._lock = threading.Lock()
        self.earlier = lines
        """What was there already."""

    def add(self, line: Mapping[str, Any]) -> None:
        """Writes one line, so that it outlives this process. Raises OSError where not all of it could be written."""
        left = memoryview(json.dumps(line).encode() + b"\n")
        with self._lock:
            whole = os.fstat(self._file).st_size
            try:
                while left:
                    left = left[os.write(self._file, left) :]
            except BaseException:
                os.ftruncate(self._file, whole)
                raise


@contextmanager
def journal(path: Path) -> Iterator[Journal]:
    """The journal at a path, new or continued."""
    content = path.read_bytes() if path.exists() else b""
    whole = content[: content.rfind(b"\n") + 1]
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        os.ftruncate(file, len(whole))
        yield Journal(file, [json.loads(line) for line in whole.splitlines()])
    finally:
        os.close(file)
