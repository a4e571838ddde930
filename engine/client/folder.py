"""The folder of a local engine: the socket it listens on, the log it writes.

The log is locked for as long as either of the two that have it open lives: the caller, and the engine, whose stderr it is. So a
folder whose log can be locked was left by a caller that was killed, and the next one to make a folder removes it.
"""

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

_PREFIX = "rrtf-engine-"
_LOG = "engine.log"
_LAST_LINES = 12


class EngineFolder:
    """A new folder, to be removed. `log` is open for the engine to write to."""

    def __init__(self) -> None:
        _remove_abandoned(Path(tempfile.gettempdir()))
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX))
        nameless = self.path / "log"
        self.log = nameless.open("wb")
        fcntl.flock(self.log, fcntl.LOCK_EX)
        nameless.rename(self.path / _LOG)  # locked before others look for it

    @property
    def last_lines(self) -> str:
        """What the engine wrote last."""
        lines = (self.path / _LOG).read_text(errors="backslashreplace").splitlines()
        return "\n".join(lines[-_LAST_LINES:])

    def remove(self) -> None:
        self.log.close()
        shutil.rmtree(self.path, ignore_errors=True)


def _remove_abandoned(where: Path) -> None:
    for folder in where.glob(f"{_PREFIX}*"):
        with suppress(OSError):  # in use, or somebody else has just removed it
            if folder.lstat().st_uid == os.geteuid():  # what another user put there may be anything
                _remove_if_abandoned(folder)


def _remove_if_abandoned(folder: Path) -> None:
    """Raises OSError where it is in use."""
    with (folder / _LOG).open("rb") as log:
        fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder)
