"""The folder of a run: what each stage made, so that a run can be looked into and, after an interruption, continued.

    runs/embedded/
        recipe.json  versions.json      the resolved recipe; what it ran with
        tasks/  start/  round-1/...     one folder for each stage, with a manifest
        report.html  summary.json       written last: their presence means that the run is finished

A stage writes into `<stage>.partial`, which is renamed when everything is in it: a stage folder that exists is complete. Its
manifest says which inputs it was made from (hashes of settings and of what earlier stages made) and which files came out. It is
taken up by a run with the same inputs; where they are others, it is set aside and made anew. What an interrupted stage had done
lies in `<stage>.partial/unfinished` and is taken up under the same condition. A lock keeps two processes out of one folder.
"""

import errno
import fcntl
import importlib.metadata
import json
import os
import platform
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from trainer import fingerprint
from trainer.errors import RunFolderError, RunFolderInUse
from trainer.recipe import Recipe

_PACKAGES = ("torch", "transformers", "tokenizers", "rrtf")


type Inputs = Mapping[str, str]
"""Hashes of all that decides what a stage makes, by name."""

THERE = "there"
"""Says that a stage was found in the run's own folder."""
UNFINISHED = "unfinished"
"""Folder inside a stage's for what only a continuation needs."""
_MANIFEST, _INPUTS, _LOCK = "manifest.json", "inputs.json", ".lock"


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    path: Path
    continued: bool
    """Whether an earlier, interrupted run lies in it."""
    lock: IO[str]
    lender: Path | None = None
    """Another run's folder, whose stages are taken over where they had the same inputs."""

    def is_done(self, stage: str) -> bool:
        return (self.path / stage).exists()

    def take_up(self, stage: str, inputs: Inputs) -> str:
        """Where the stage was found, made from these inputs: THERE, the lender's folder, or "" where it is to be made."""
        final = self.path / stage
        if final.exists():
            if _manifest(final).get("inputs") == inputs:
                return THERE
            _set_aside(final)
        partial = _partial(final)
        if _manifest(partial).get("inputs") == inputs:  # complete, and interrupted just before it took its place
            _complete(partial, final)
            return THERE
        if self.lender and _manifest(self.lender / stage).get("inputs") == inputs:
            _borrow(self.lender / stage, partial)
            _complete(partial, final)
            return str(self.lender)
        return ""

    @contextmanager
    def stage(self, stage: str, inputs: Inputs) -> Iterator[Path]:
        """The folder in which a stage makes its files; it takes its place when the block ends without an error.

        Its subfolder `unfinished` holds what an earlier process left there that was interrupted at the same work.
        """
        final = self.path / stage
        partial = _partial(final)
        unfinished = partial / UNFINISHED
        if _read(unfinished / _INPUTS) != inputs:
            shutil.rmtree(partial, ignore_errors=True)
            unfinished.mkdir(parents=True)
            write_json(unfinished / _INPUTS, inputs)
        started = time.monotonic()
        yield partial
        files = {name: value for name, value in fingerprint.of_files(partial).items() if not name.startswith(f"{UNFINISHED}/")}
        seconds = round(time.monotonic() - started, 3)
        write_json(partial / _MANIFEST, {"inputs": inputs, "files": files, "seconds": seconds})
        _complete(partial, final)

    def fingerprint(self, stage: str) -> str:
        """Of a finished stage: what it was made from and what it made."""
        manifest = _manifest(self.path / stage)
        return fingerprint.of_values(manifest["inputs"], manifest["files"])

    def seconds(self, stage: str) -> float:
        """How long a finished stage took; of one that was interrupted, since it was taken up."""
        return float(_manifest(self.path / stage)["seconds"])

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
    root, name = Path(recipe.run.folder), recipe.run.name
    try:
        numbers = _numbers(root, name)
        unfinished = [number for number in numbers if _is_unfinished(root / _numbered(name, number), recipe)]
        continued = bool(unfinished)
        path = root / _numbered(name, unfinished[0] if continued else max(numbers, default=0) + 1)
        path.mkdir(parents=True, exist_ok=True)
        lock = _lock(path)
        write_json(path / "recipe.json", recipe.model_dump(mode="json"))
        if not (path / "versions.json").exists():
            write_json(path / "versions.json", _versions())
    except OSError as error:
        raise RunFolderError(f"run.folder: cannot write to {root}: {error.strerror or error}") from error
    lender = Path(recipe.run.take_over) if recipe.run.take_over else None
    return RunFolder(path=path, continued=continued, lock=lock, lender=lender)


def finished_run(path: Path) -> tuple[RunFolder, Recipe]:
    """A finished run, to be read. Raises RunFolderError."""
    if not (path / "summary.json").exists():
        raise RunFolderError(
            f"{path}: no finished run lies there; name a folder such as runs/embedded, whose run its own command has finished"
        )
    try:
        recipe = Recipe.model_validate(_read(path / "recipe.json"))
    except ValueError as error:
        raise RunFolderError(f"{path}: its recipe is that of another version") from error
    with (path / _LOCK).open() as lock:  # closed at once: whoever reads a finished run is in nobody's way
        return RunFolder(path=path, continued=False, lock=lock), recipe


@contextmanager
def telling_of_a_full_disk(folder: RunFolder) -> Iterator[None]:
    """Whichever library it was that found the disk full: RunFolderError in one line."""
    try:
        yield
    except Exception as error:
        if not any(_is_full(cause) for cause in _causes(error)):
            raise
        full = f"run.folder: no space is left for {folder.path}"
        raise RunFolderError(f"{full}; what was finished is kept: make room, and the same command continues the run") from error


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


def _is_unfinished(path: Path, recipe: Recipe) -> bool:
    """Whether a run lies there that would come to the same end and has not come to it."""
    if path.is_dir() and {file.name for file in path.iterdir()} == {_LOCK}:
        return True  # killed at its first breath
    try:
        held = Recipe.model_validate(_read(path / "recipe.json"))
    except ValueError:
        return False
    return held.deciding() == recipe.deciding() and not (path / "summary.json").exists()


def _partial(final: Path) -> Path:
    return final.with_name(final.name + ".partial")


def _complete(partial: Path, final: Path) -> None:
    """Gives a stage its place. An interruption anywhere in here leaves a manifest, from which `take_up` goes on."""
    shutil.rmtree(partial / UNFINISHED, ignore_errors=True)
    partial.rename(final)


def _set_aside(final: Path) -> None:
    outdated = final.with_name(final.name + ".outdated")
    if outdated.is_symlink():
        outdated.unlink()
    shutil.rmtree(outdated, ignore_errors=True)
    final.rename(outdated)


def _borrow(stage: Path, partial: Path) -> None:
    """Everything in a stage, the manifest last: where it lies, everything does."""
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(stage, partial, copy_function=_link_or_copy, ignore=shutil.ignore_patterns(_MANIFEST))
    _link_or_copy(str(stage / _MANIFEST), str(partial / _MANIFEST))


def _link_or_copy(source: str, target: str) -> None:
    try:
        Path(target).hardlink_to(source)
    except OSError:  # another file system
        shutil.copy2(source, target)


def _manifest(stage: Path) -> dict[str, Any]:
    found = _read(stage / _MANIFEST)
    return found if isinstance(found, dict) else {}


def _read(path: Path) -> Any:
    """The content of a JSON file, or None where there is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _is_full(error: BaseException) -> bool:
    """Libraries that are not written in Python keep no more of the error than its words."""
    full = (errno.ENOSPC, errno.EDQUOT)
    return getattr(error, "errno", None) in full or any(os.strerror(number) in str(error) for number in full)


def _lock(path: Path) -> IO[str]:
    lock = (path / _LOCK).open("w")
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
