"""The file that `grade --out` writes: one JSON object per sample, as they finish.

While grading goes on the lines gather in PATH.part; at the end that file becomes PATH in one step, so PATH is whole or absent.
What an interrupted call left in PATH.part is taken up by the next one, and so is PATH itself: a line counts if it is of the same
job, which its hash tells, and if it holds a verdict on the program. Everything behind the last whole line is cut off. A PATH
with lines of other samples is not written over.
"""

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from engine.errors import CannotWrite, reason
from engine.fingerprint import fingerprint
from engine.records import Job, Trust, Verdict


class ResultsFile:
    """Use `results_file`."""

    def __init__(self, path: Path) -> None:
        self.part = path.with_name(path.name + ".part")
        self._path = path
        self._finished = dict(_whole_lines(path))
        self._earlier = self._finished | dict(_whole_lines(self.part))
        self._file: BinaryIO | None = None

    def graded(self, job: Job) -> tuple[Verdict, Trust] | None:
        """The verdict that an earlier call left on this very job, and what it rests on."""
        line = self._earlier.get(job.id, {})
        if line.get("job_sha256") != fingerprint(job):
            return None
        verdict = Verdict(line["verdict"])
        return None if verdict is Verdict.INFRASTRUCTURE_ERROR else (verdict, Trust(line["trust"]))

    def check(self, jobs: Collection[str]) -> None:
        """Raises CannotWrite where there are results of others than these."""
        if others := self._finished.keys() - set(jobs):
            which = f"{len(others)} other samples, such as {min(others)}"
            raise CannotWrite(f"{self._path} holds results of {which}; choose another --out, or remove it")

    def begin(self, kept: list[str]) -> None:
        """Begins with the lines of these ids, which an earlier call left, and no others."""
        beginning = self.part.with_name(self.part.name + ".new")
        self._file = beginning.open("wb")
        for job_id in kept:
            self.add(self._earlier[job_id])
        beginning.replace(self.part)

    def add(self, line: dict[str, Any]) -> None:
        """Writes one line, so that it outlives this process."""
        assert self._file is not None
        self._file.write(json.dumps(line).encode() + b"\n")
        self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def finish(self) -> None:
        """All lines are written."""
        self.close()
        self.part.replace(self._path)


@contextmanager
def results_file(path: Path) -> Iterator[ResultsFile]:
    """The file at a path. Leaving with an error keeps what there is. Raises CannotWrite."""
    try:
        results = ResultsFile(path)
        try:
            yield results
        finally:
            results.close()
    except OSError as error:
        raise CannotWrite(f"cannot write {path}: {reason(error)}; choose another --out") from error


def _whole_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The lines that can be read, by id."""
    if not path.is_file():
        return
    for raw in path.read_bytes().splitlines():
        try:
            line = json.loads(raw)
            Verdict(line["verdict"]), Trust(line["trust"])
            yield line["id"], line
        except (ValueError, KeyError, TypeError):
            continue
