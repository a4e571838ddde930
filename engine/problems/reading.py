"""Files of problems and of samples: JSONL, plain or gzipped, one record a line, empty lines ignored.

Every fault is a ProblemError of one line, "FILE line N: cause; cure", raised before anything has been graded.
"""

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from engine.errors import ProblemError, reason
from engine.problems.lines import kind_of_line
from engine.problems.problem import Problem
from engine.records import Job, Limits, StopRule

_KINDS = (
    "HumanEval or LeetCodeDataset (task_id, prompt, entry_point, test), MBPP (task_id, text or prompt, test_list) "
    "or stdin/stdout (task_id, inputs and outputs, or tests)"
)
_FORMAT = "give a JSONL file in UTF-8, plain or gzipped"


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One program to grade: a completion of the problem's prompt, or a whole program as `solution`."""

    task_id: str
    number: int
    """Among the samples of its task, from 0."""
    completion: str | None = None
    solution: str | None = None

    @property
    def id(self) -> str:
        return f"{self.task_id}#{self.number}"

    def job(self, problem: Problem, *, limits: Limits | None = None, stop: StopRule = StopRule.FIRST_FAILURE) -> Job:
        """The job that grades the sample."""
        if self.solution is not None:
            return problem.job_for_program(self.solution, id=self.id, limits=limits, stop=stop)
        return problem.job(self.completion or "", id=self.id, limits=limits, stop=stop)


def read_problems(path: Path | str) -> dict[str, Problem]:
    """The problems of a file by task_id, in its order. Raises ProblemError."""
    problems: dict[str, Problem] = {}
    for where, line in _lines(Path(path)):
        kind = kind_of_line(set(line))
        if kind is None:
            raise ProblemError(f"{where}: fields {', '.join(sorted(line)) or '(none)'} are no problem; use those of {_KINDS}")
        try:
            problem = kind.model_validate(line).problem()
        except ValidationError as error:
            raise ProblemError(f"{where}: {_fault(error)}") from error
        except ValueError as error:
            raise ProblemError(f"{where}: {error}; correct the line") from error
        if problem.task_id in problems:
            raise ProblemError(f"{where}: task_id {problem.task_id!r} stood in an earlier line; give each problem its own")
        problems[problem.task_id] = problem
    if not problems:
        raise ProblemError(f"{path} has no problems; give a file with one problem a line: {_KINDS}")
    return problems


def read_samples(path: Path | str, problems: Mapping[str, Problem]) -> list[Sample]:
    """The samples of a file, in its order. Raises ProblemError, also for a sample of an unknown task."""
    samples: list[Sample] = []
    numbers: dict[str, int] = {}
    for where, line in _lines(Path(path)):
        task_id, text = str(line.get("task_id", "")), {name: line.get(name) for name in ("completion", "solution")}
        if task_id not in problems:
            known = next(iter(problems))
            raise ProblemError(f"{where}: unknown task_id {task_id[:80]!r}; the problems have ids such as {known!r}")
        given = {name: value for name, value in text.items() if value is not None}
        if len(given) != 1 or not all(isinstance(value, str) for value in given.values()):
            raise ProblemError(f"{where}: give either completion (a text that follows the prompt) or solution (a whole program)")
        number = numbers[task_id] = numbers.get(task_id, -1) + 1
        samples.append(Sample(task_id=task_id, number=number, **given))
    if not samples:
        raise ProblemError(f"{path} has no samples; give a file with one sample a line: task_id and completion or solution")
    return samples


def gold_samples(problems: Mapping[str, Problem]) -> Sequence[Sample]:
    """The problems' own solutions as samples. Raises ProblemError where one has none."""
    without = [problem.task_id for problem in problems.values() if problem.gold is None]
    if without:
        raise ProblemError(f"{len(without)} problems have no solution of their own, {without[0]!r} first; grade samples instead")
    return [Sample(task_id=problem.task_id, number=0, completion=problem.gold) for problem in problems.values()]


def _lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each line that is not empty, with words for where it stands."""
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode()
    except OSError as error:  # among them gzip.BadGzipFile, which has no number
        cure = "give the path of a file that can be read" if error.errno else _FORMAT
        raise ProblemError(f"cannot read {path}: {reason(error)}; {cure}") from error
    except (EOFError, UnicodeDecodeError, zlib.error) as error:
        raise ProblemError(f"cannot read {path}: {error}; {_FORMAT}") from error
    for number, raw in enumerate(text.split("\n"), start=1):
        if not raw.strip():
            continue
        where = f"{path} line {number}"
        try:
            line = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise ProblemError(f"{where}: not JSON ({error}); write one JSON object a line") from error
        if not isinstance(line, dict):
            raise ProblemError(f"{where}: not a JSON object but {type(line).__name__}; write one JSON object a line")
        yield where, line


def _fault(error: ValidationError) -> str:
    """The first fault that pydantic found, as cause and cure."""
    first = error.errors(include_url=False)[0]
    name = ".".join(map(str, first["loc"]))
    if first["type"] == "missing":
        return f"the field {name} is missing; add it"
    cause = str(first.get("ctx", {}).get("error") or first["msg"])
    return f"{f'the field {name}: ' if name else ''}{cause[:1].lower()}{cause[1:]}; correct the line"
