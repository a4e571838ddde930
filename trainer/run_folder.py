"""The folder of a run: what each stage made, so that a run can be looked into and, after an interruption, continued.

    runs/embedded/
        recipe.json  versions.json      the resolved recipe; what it ran with
        tasks/  start/  round-1/...     one folder for each stage
        report.html  summary.json       written last: their presence means that the run is finished

A stage writes into `<stage>.partial`, which is renamed when everything is in it: a stage folder that exists is complete. What an
interrupted stage left behind is thrown away when the stage starts again. A lock keeps two processes out of one folder.
"""

import fcntl
import importlib.metadata
import json
import platform
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from trainer.errors import RunFolderError
from trainer.recipe import Recipe

_PACKAGES = ("torch", "transformers", "tokenizers", "rrtf")


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    path: Path
    continued: bool
    """Whether an earlier, interrupted run lies in it."""
    lock: IO[str]

    def is_done(self, stage: str) -> bool:
        return (self.path / stage).exists()

    @contextmanager
    def stage(self, stage: str) -> Iterator[Path]:
        """The folder in which a stage makes its files; it takes its place when the block ends without an error."""
        final = self.path / stage
        partial = final.with_name(final.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        started = time.monotonic()
        yield partial
        write_json(partial / "time.json", {"seconds": round(time.monotonic() - started, 3)})
        partial.rename(final)

    def read(self, stage: str, file: str) -> Any:
        return json.loads((self.path / stage / file).read_text(encoding="utf-8"))

    def finish(self, summary: dict[str, Any]) -> None:
        write_json(self.path / "summary.json", summary)

    def close(self) -> None:
        self.lock.close()


def open_run(recipe: Recipe) -> RunFolder:
    """The folder to work in: the newest of this name if it holds the same recipe unfinished, else a new one.

    The second folder of a name is name-2, and so on. Raises RunFolderError.
    """
    resolved = recipe.model_dump(mode="json")
    root = Path(recipe.run.folder)
    number = 1
    while (root / _numbered(recipe.run.name, number + 1)).exists():
        number += 1
    path = root / _numbered(recipe.run.name, number)
    continued = _holds(path, resolved) and not (path / "summary.json").exists()
    if path.exists() and not continued:
        path = root / _numbered(recipe.run.name, number + 1)
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = _lock(path)
        if not continued:
            write_json(path / "versions.json", _versions())
            write_json(path / "recipe.json", resolved)
    except OSError as error:
        raise RunFolderError(f"run.folder: cannot write to {path}: {error.strerror or error}") from error
    return RunFolder(path=path, continued=continued, lock=lock)


def write_json(path: Path, content: object) -> None:
    """Writes a whole file or none."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.rename(path)


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name}-{number}"


def _holds(path: Path, resolved: dict[str, Any]) -> bool:
    try:
        return bool(json.loads((path / "recipe.json").read_text(encoding="utf-8")) == resolved)
    except (OSError, ValueError):
        return False


def _lock(path: Path) -> IO[str]:
    lock = (path / ".lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise RunFolderError(f"{path} is in use by another process; wait for it, or choose another --set run.name=...") from None
    return lock


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found
