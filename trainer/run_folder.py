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
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from trainer.errors import RunFolderError, RunFolderInUse
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
    """The folder to work in: the newest of this name that holds the same recipe unfinished, else a new one.

    The second folder of a name is name-2, and so on; a new one is numbered after all that are there. Raises RunFolderError.
    """
    resolved = recipe.model_dump(mode="json")
    root, name = Path(recipe.run.folder), recipe.run.name
    try:
        numbers = _numbers(root, name)
        unfinished = [number for number in numbers if _is_unfinished(root / _numbered(name, number), resolved)]
        continued = bool(unfinished)
        path = root / _numbered(name, unfinished[0] if continued else max(numbers, default=0) + 1)
        path.mkdir(parents=True, exist_ok=True)
        lock = _lock(path)
        if not continued:
            write_json(path / "versions.json", _versions())
            write_json(path / "recipe.json", resolved)
    except OSError as error:
        raise RunFolderError(f"run.folder: cannot write to {root}: {error.strerror or error}") from error
    return RunFolder(path=path, continued=continued, lock=lock)


def write_json(path: Path, content: object) -> None:
    """Writes a whole file or none."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.rename(path)


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name}-{number}"


def _numbers(root: Path, name: str) -> list[int]:
    """The numbers of the folders of a name, newest first; what lies in the way of one counts as well."""
    pattern = re.compile(re.escape(name) + r"(?:-([2-9]|[1-9][0-9]+))?")
    found = [pattern.fullmatch(path.name) for path in root.iterdir()] if root.exists() else []
    return sorted((int(match[1] or 1) for match in found if match), reverse=True)


def _is_unfinished(path: Path, resolved: dict[str, Any]) -> bool:
    """Whether a run of this recipe lies there that has not come to its end."""
    try:
        held = json.loads((path / "recipe.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(held == resolved) and not (path / "summary.json").exists()


def _lock(path: Path) -> IO[str]:
    lock = (path / ".lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise RunFolderInUse(f"{path} is in use by another process; wait for it, or choose another --set run.name=...") from None
    return lock


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found
