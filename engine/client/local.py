"""`LocalEngine`: an engine of one's own, as a subprocess that lives as long as a `with` block.

The engine prints one line on stdout once it takes jobs; until then its stdout is waited on, so that readiness and an early end
are the same event and nothing is polled. It has a process group of its own, so that Ctrl-C reaches only the caller, who
decides. Its stdin is a pipe that it watches: when the caller dies in whatever way, the pipe ends and so does the engine. What a
caller that was killed leaves is a folder, which the next one removes.
"""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from engine.client.folder import EngineFolder
from engine.errors import EngineError, EngineFault, EngineGone, StartFailed

READY_PREFIX = "ready at "
"""What the engine prints once it takes jobs, followed by its address."""

_KNOWN_FAULT, _FAULT = 2, "error: "
"""How an engine ends that knows what is wrong: this exit code, and a last line that says it."""
_STOP_TIME_S = 20.0


class LocalEngine:
    """Starts an engine, waits until it takes jobs, and stops it at the end.

    `config` is a file as `python -m engine serve --config` takes it, `slots` how many programs run at once; both have defaults.
    Entering raises StartFailed with the last lines the engine wrote; they are also a note on an error that says the engine failed
    inside the block. Entering and leaving block for about a second, in async code too.
    """

    def __init__(
        self,
        *,
        config: Path | str | None = None,
        slots: int | None = None,
        start_timeout_ms: int = 60_000,
        command: Sequence[str] = (sys.executable, "-m", "engine", "serve"),
    ) -> None:
        self._options = [
            *(["--config", str(config)] if config is not None else []),
            *(["--slots", str(slots)] if slots is not None else []),
        ]
        self._command = command
        self._start_timeout_ms = start_timeout_ms
        self._folder: EngineFolder | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where the engine listens, for clients. Raises EngineError outside of the block."""
        if self._folder is None:
            raise EngineError("a LocalEngine has an address only inside its with block")
        return f"unix:{self._folder.path}/engine.sock"

    @property
    def pid(self) -> int | None:
        """The engine's process, while it runs."""
        return self._process.pid if self._process is not None else None

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """The last lines that the engine wrote on stderr."""
        return self._folder.last_lines if self._folder is not None else ""

    def __enter__(self) -> Self:
        self._folder = EngineFolder()
        try:
            self._start(self._folder)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if isinstance(error, EngineGone | EngineFault) and self.log:
            error.add_note(f"The engine wrote last:\n{self.log}")
        self.stop()

    def _start(self, folder: EngineFolder) -> None:
        command = [*self._command, "--listen", self.address, "--stop-with-stdin", *self._options]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=folder.log, process_group=0, bufsize=0
        )
        assert self._process.stdout is not None
        readable, _, _ = select.select([self._process.stdout], [], [], self._start_timeout_ms / 1000)
        if not readable:
            raise StartFailed(f"the engine was not ready after {self._start_timeout_ms} ms. It wrote:\n{self.log}")
        if not self._process.stdout.readline().decode(errors="replace").startswith(READY_PREFIX):
            status = self._process.wait()
            if status == _KNOWN_FAULT and (last := self.log.rpartition("\n")[2]).startswith(_FAULT):
                raise StartFailed(last.removeprefix(_FAULT))
            raise StartFailed(f"the engine ended at its start with status {status}. It wrote:\n{self.log or '(nothing)'}")

    def stop(self) -> None:
        """Asks the engine to stop, and makes it stop where it does not. Leaves no process and no file."""
        if self._process is not None:
            self._process.terminate()
            self._close_pipes()
            try:
                self._process.wait(_STOP_TIME_S)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
            self._process = None
        if self._folder is not None:
            self._folder.remove()
            self._folder = None

    def _close_pipes(self) -> None:
        assert self._process is not None
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
