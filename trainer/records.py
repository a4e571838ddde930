"""The records that flow through a run, in the order in which they flow.

Request -> Candidate -> Outcome -> RankedTask -> (pairs). Each is immutable, is written to the run folder as one line of
JSON, and can be read back from there.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One response wanted from a sampler. Temperature 0 means greedy."""

    id: str
    task_id: str
    prompt: str
    temperature: float
    whole: bool = False
    """Whether a whole program is wanted, where the task does not begin a function."""
    teacher: bool = False
    """Whether a teacher is asked."""
    sampled: bool = False
    """Whether its response is there already, from before an interruption: then it only keeps its place in a batch."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """One response: the code that was taken from it, and how it was sampled."""

    id: str
    task_id: str
    completion: str
    temperature: float
    seed: int
    """Of the request, or of the batch in which it was sampled."""
    tokens: int
    """Sampled tokens, the end token included."""
    truncated: bool = False
    """Cut off by the token limit: executed, but never ranked."""
    teacher: bool = False
    sampler: str = ""
    """What sampled it, with its version; empty for a problem's own solution."""
    model: str = ""
    """The revision of the model that wrote it: the hub's commit, or a hash of the folder."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What the engine said about a candidate, reduced to what a run needs."""

    candidate: Candidate
    verdict: str
    """A value of engine.records.Verdict."""
    tests_passed: int
    tests_total: int
    trust: str
    error: str
    cpu_time_ms: float
    teacher_score: float | None = None
    """How a teacher model finds the candidate, from 0 to 1; None where none was asked or none answered."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RankedResponse:
    completion: str
    score: float
    """What ranks it: a teacher's has a bonus."""
    reward: float
    """The score without the bonus."""
    verdict: str
    passed: bool
    teacher: bool
    samples: int
    """How many of the student's samples it stands for: equal ones are kept once, and with a teacher's that is equal."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RankedTask:
    """The scored responses to one prompt: at least one teacher's, and the students' that can be compared with it."""

    task_id: str
    prompt: str
    responses: tuple[RankedResponse, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """A teacher's response above a student's: one term of L_rank."""

    task_id: str
    teacher: str
    student: str
    teacher_score: float
    student_score: float


def write_lines(path: Path, records: Iterable[Any]) -> None:
    """Records (dataclasses or dicts) as JSON lines."""
    with path.open("w", encoding="utf-8") as file:
        for record in records:
            file.write(json.dumps(record if isinstance(record, dict) else asdict(record), ensure_ascii=False) + "\n")


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file of JSON lines."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def read_outcomes(path: Path) -> list[Outcome]:
    """Outcomes as `write_lines` wrote them."""
    return [read_outcome(line) for line in read_lines(path)]


def read_outcome(line: dict[str, Any]) -> Outcome:
    """One outcome as it was written."""
    return Outcome(**{**line, "candidate": Candidate(**line["candidate"])})


def read_ranked(path: Path) -> list[RankedTask]:
    """Ranked tasks as `write_lines` wrote them."""

    def ranked(line: dict[str, Any]) -> RankedTask:
        return RankedTask(**{**line, "responses": tuple(RankedResponse(**response) for response in line["responses"])})

    return [ranked(line) for line in read_lines(path)]
