"""From entries to jobs, and from reports to findings: what is run, and whether it held. Pure functions.

An entry without tests of its own is run as every kind of tests that its list names: the same cheat against calls, asserts,
unittest, stdin and stdout.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from engine.errors import BadConfig
from engine.nearest import nearest
from engine.records import MIB, Job, Limits, Report, Verdict
from engine.selftest.lists import REFUSED, Entry, Kind, Problem

OWN_TESTS, NO_TESTS = "own", "run"
"""Kinds of a case: the entry's own tests, or none at all."""
FAILURES = frozenset(Verdict) - {
    Verdict.PASSED, Verdict.FINISHED, Verdict.CANCELLED, Verdict.INFRASTRUCTURE_ERROR, Verdict.NOT_RUN,
}  # fmt: skip
"""Verdicts that say that the program failed, and nothing else."""
_LIMITS = Limits(
    cpu_time_ms=2_000,
    wall_time_ms=4_000,
    memory_bytes=128 * MIB,
    output_bytes=128 * 1024,
    processes=16,
    open_files=64,
    file_size_bytes=16 * MIB,
)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One job of one entry. `allowed` are verdicts by name, or REFUSED."""

    list: str
    entry: str
    kind: str
    job: Job
    allowed: frozenset[str]
    stdout: bytes | None = None

    @property
    def name(self) -> str:
        return f"{self.entry} [{self.kind}]"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a case came to. `got` is a verdict by name or REFUSED; `why` is empty where the case held."""

    case: Case
    got: str
    why: str = ""

    @property
    def held(self) -> bool:
        return not self.why


def cases_of(list_name: str, entries: Mapping[str, Entry], problem: Problem) -> list[Case]:
    """Every case of a list. Raises BadConfig where an entry names a kind that there is not."""
    return [
        _case(list_name, title, entry, kind, problem)
        for title, entry in entries.items()
        for kind in _kinds(list_name, entry, problem)
    ]


def judge(case: Case, report: Report | None) -> Finding:
    """Whether a report is what was expected; None stands for a job that was refused."""
    got = REFUSED if report is None else report.verdict.value
    why = ""
    if got not in case.allowed:
        why = f"expected {' or '.join(sorted(case.allowed))}, got {got}"
        why += f" ({report.cause.message or report.stdout[-200:]!r})" if report is not None else ""
    elif report is not None and case.list == "forgery" and 0 < report.tests_total <= report.tests_passed:
        why = f"{report.tests_passed} of {report.tests_total} tests passed"
    elif report is not None and case.stdout is not None and report.stdout != case.stdout:
        why = f"expected {case.stdout!r} on stdout, got {report.stdout[-200:]!r}"
    return Finding(case=case, got=got, why=why)


def _kinds(list_name: str, entry: Entry, problem: Problem) -> tuple[str, ...]:
    if entry.tests is not None:
        return (OWN_TESTS,)
    if entry.kinds is not None:
        return entry.kinds
    return {"forgery": (*problem.kinds, NO_TESTS), "abuse": (NO_TESTS,), "false-alarms": tuple(problem.kinds)}[list_name]


def _case(list_name: str, title: str, entry: Entry, kind: str, problem: Problem) -> Case:
    known = {OWN_TESTS: Kind(tests=entry.tests), NO_TESTS: Kind(), **problem.kinds}
    if kind not in known:
        raise BadConfig(f"{list_name}: {title!r}: there is no kind {kind!r}{nearest(kind, known)}")
    as_kind = known[kind]
    job = Job(
        id=f"{list_name}/{title}/{kind}",
        program=_program(entry, as_kind),
        files={name: text.encode("latin-1") for name, text in entry.files.items()},
        stdin=entry.stdin.encode("latin-1"),
        limits=replace(_LIMITS, **entry.limits),
        tests=as_kind.tests.tests() if as_kind.tests is not None else None,
    )
    return Case(
        list=list_name,
        entry=title,
        kind=kind,
        job=job,
        allowed=_allowed(list_name, entry, tested=job.tests is not None),
        stdout=None if entry.stdout is None else entry.stdout.encode("latin-1"),
    )


def _program(entry: Entry, kind: Kind) -> bytes:
    repeated = entry.repeated.text * entry.repeated.times if entry.repeated is not None else ""
    return (entry.program + repeated).encode(entry.encoding) + kind.adapter.encode()


def _allowed(list_name: str, entry: Entry, *, tested: bool) -> frozenset[str]:
    """What the entry says; else what its list is about. No forgery is held against a program without tests that just ends."""
    if entry.expect is not None:
        return frozenset(item.value if isinstance(item, Verdict) else item for item in entry.expect)
    held = {"forgery": FAILURES, "abuse": frozenset[Verdict](), "false-alarms": frozenset({Verdict.PASSED})}[list_name]
    return frozenset(item.value for item in (held if tested else held | {Verdict.FINISHED}))
