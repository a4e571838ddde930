"""From what was measured and found to a verdict: pure functions, and the only place where verdicts are decided.

The order in which things are looked at is the meaning of the verdicts. What no program may do decides first (output, time on
the CPU, time on the wall), since it holds whatever else happened. Then what ended the program. A program's own word, its
report, only ever chooses between ways to fail: nothing that it writes can lead to PASSED.
"""

import errno
import json
import math
import signal
from dataclasses import dataclass
from typing import Any

from engine.jail.inside.examiner import COUNTERS
from engine.jail.slot import Account, report_bound
from engine.records import Cause, CauseKind, Limits, Trust, Verdict

_ERROR_CHARS = 8_000
_BY_TIME = ("cpu", "wall")
"""Limits of a few milliseconds can be over before the program began."""
_LONGEST_WORD = 1 << 17
"""In bytes: far more than a traceback of the length that a candidate reports."""
_LONGEST_FINDINGS = 1 << 20
"""As well: more than a hundred failures with all that an examiner notes of each. Test code may write there what it likes."""
_MOST_TESTS = (1 << 31) - 2
"""A report can count one more."""
_FAILURE_PARTS = 5
"""Index, message, whether the program raised it, exception, error number."""
_CRASHES = (-signal.SIGSEGV, -signal.SIGBUS, -signal.SIGABRT, -signal.SIGILL, -signal.SIGFPE)


_NO_CAUSE = Cause()


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A verdict with its reason; `error` is the program's traceback where there is one."""

    verdict: Verdict
    cause: Cause = _NO_CAUSE
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class Examination:
    """What the examiner found. `failures` are the first ones: (index, message)."""

    outcome: Outcome
    passed: int
    total: int
    failures: tuple[tuple[int, Outcome], ...]
    trust: Trust


class TestsUnusable(Exception):
    """The test code itself cannot run; the message says why."""


class CellFailed(Exception):
    """A cell could not be made or broke by itself: the engine's failure, not the program's."""


PASSED = Outcome(verdict=Verdict.PASSED)


def candidate_failed(message: str, verdict: Verdict, error: str = "") -> Outcome:
    """The program's own failure, with one line that says how."""
    return Outcome(verdict=verdict, cause=Cause(kind=CauseKind.CANDIDATE, message=message), error=error[:_ERROR_CHARS])


def over_hard_limit(account: Account, limits: Limits) -> Outcome | None:
    """The limits that hold even for a program whose tests pass. Raises CellFailed where there was no program."""
    if not account.candidate.entered and account.candidate.killed not in _BY_TIME:
        raise CellFailed(account.stderr.decode("utf-8", "replace").strip() or f"exit code {account.candidate.status}")
    if account.host_out_of_memory:
        raise CellFailed("the host ran out of memory: the kernel ended a program that was within its limit")
    if account.candidate.killed == "cancelled":
        return Outcome(verdict=Verdict.CANCELLED, cause=Cause(kind=CauseKind.CANDIDATE, message="taken back by the client"))
    output_bytes = max(account.stdout_bytes, account.stderr_bytes)
    if output_bytes > limits.output_bytes:
        return _over(Verdict.OUTPUT_LIMIT, "output_bytes", output_bytes, limits)
    if account.report_bytes > report_bound(limits):
        return _over(Verdict.OUTPUT_LIMIT, "output_bytes", account.report_bytes, limits, more="results count as output")
    if account.candidate.killed == "output":
        return _over(Verdict.OUTPUT_LIMIT, "output_bytes", limits.output_bytes + 1, limits, more="its stdin's file counts")
    cpu_ms = account.candidate.cpu_ns / 1e6
    if cpu_ms > limits.cpu_time_ms or account.candidate.killed == "cpu":
        if account.memory_refused or account.oom_killed:  # looking for memory takes a program's time, and more on a busy machine
            return _out_of_memory(account, limits)
        return _over(Verdict.TIME_LIMIT, "cpu_time_ms", max(math.ceil(cpu_ms), limits.cpu_time_ms), limits)
    if account.candidate.killed == "wall":
        return _over(Verdict.WALL_TIME_LIMIT, "wall_time_ms", account.candidate.wall_ns // 1_000_000, limits)
    return None


def failure(account: Account, limits: Limits) -> Outcome | None:
    """How a program that ran by itself failed, None where it ended with exit code 0."""
    return over_hard_limit(account, limits) or (
        _ended(account, limits, _last_report(account)) if account.candidate.status != 0 else None
    )


def left_early(account: Account, limits: Limits) -> Outcome:
    """How a program failed that did not stay until its tests were done."""
    found = failure(account, limits)
    return found or candidate_failed("it left with exit code 0 before its tests were done", Verdict.RUNTIME_ERROR)


def raised(exception: str, number: object, error: str, account: Account, limits: Limits) -> Outcome:
    """The verdict on an exception of the program's that nothing caught."""
    if exception == "MemoryError":
        return _over(
            Verdict.MEMORY_LIMIT, "memory_bytes", account.peak_memory_bytes, limits, error, "one more allocation was refused"
        )
    if number == errno.ENOSPC:
        return _over(Verdict.MEMORY_LIMIT, "memory_bytes", account.peak_memory_bytes, limits, error, "files live in memory")
    if number == errno.EMFILE:
        return _over(Verdict.OPEN_FILES_LIMIT, "open_files", limits.open_files, limits, error)
    if number == errno.EFBIG:
        return _over(Verdict.FILE_SIZE_LIMIT, "file_size_bytes", limits.file_size_bytes, limits, error)
    if account.forks_refused or number == errno.EAGAIN or "can't start new thread" in error:
        return _over(Verdict.PROCESS_LIMIT, "processes", limits.processes, limits, error)
    return candidate_failed(error.rpartition("\n")[2] or exception, Verdict.RUNTIME_ERROR, error)


def examined(account: Account, limits: Limits) -> Examination:
    """The verdict of test code that ran apart from the program. Raises CellFailed and TestsUnusable."""
    findings, passed, failed = _findings(account)
    hard = over_hard_limit(account, limits)
    trust = Trust.EXAMINED_DELEGATED if findings.get("delegated") else Trust.EXAMINED
    failures = tuple((index, _judged(item, findings, account, limits)) for index, *item in findings.get("failures", ()))
    total = passed + failed
    if findings.get("state") == "unusable":
        raise TestsUnusable(findings.get("error", ""))
    if hard is None and findings.get("state") == "done":
        if not failed:
            return Examination(outcome=PASSED, passed=max(1, passed), total=max(1, total), failures=(), trust=trust)
        return Examination(outcome=failures[0][1], passed=passed, total=total, failures=failures, trust=trust)
    outcome = hard or _unfinished(account, limits)
    return Examination(outcome=outcome, passed=passed, total=total + 1, failures=(*failures, (total, outcome)), trust=trust)


def _findings(account: Account) -> tuple[dict[str, Any], int, int]:
    """What an examiner wrote, and how many tests it saw pass and fail. What no examiner writes counts as nothing."""
    passed, failed = COUNTERS.unpack_from(account.findings.ljust(COUNTERS.size, b"\0"))
    if passed + failed > _MOST_TESTS:
        return {}, 0, 0
    try:
        findings = json.loads(account.findings[COUNTERS.size : _LONGEST_FINDINGS] or b"{}")
    except (ValueError, RecursionError):
        findings = {}
    return findings if type(findings) is dict and _is_sound(findings, passed, failed) else {}, passed, failed


def _is_sound(findings: dict[str, Any], passed: int, failed: int) -> bool:
    failures = findings.get("failures", [])
    return (
        type(findings.get("error", "")) is str
        and type(failures) is list
        and all(type(failure) is list and list(map(type, failure[:3])) == [int, str, bool] for failure in failures)
        and all(len(failure) == _FAILURE_PARTS and 0 <= failure[0] < passed + failed for failure in failures)
        and (bool(failures) == bool(failed) or findings.get("state") != "done")
    )


def _judged(failure: list[Any], findings: dict[str, Any], account: Account, limits: Limits) -> Outcome:
    message, from_program, exception, number = failure
    if not from_program:
        return candidate_failed(message, Verdict.WRONG_ANSWER)
    error = findings.get("error", "")
    outcome = raised(exception, number, error, account, limits)
    return outcome if outcome.cause.kind is CauseKind.LIMIT else candidate_failed(message, outcome.verdict, error)


def _unfinished(account: Account, limits: Limits) -> Outcome:
    """Why the examiner did not come to an end."""
    examiner = account.examiner
    assert examiner is not None
    if examiner.killed == "tests":
        return _over(Verdict.TIME_LIMIT, "cpu_time_ms", round(examiner.cpu_ns / 1e6), limits)
    if account.oom_killed:
        return _out_of_memory(account, limits)
    if examiner.status == 0 or examiner.killed:  # killed for what a program left behind that had gone before
        return left_early(account, limits)
    if examiner.entered and examiner.status in _CRASHES:
        return candidate_failed("its answers crashed the examiner", Verdict.RUNTIME_ERROR)
    raise CellFailed(f"the examiner ended with {_ending(examiner.status)}")


def _ended(account: Account, limits: Limits, report: dict[str, Any]) -> Outcome:
    """Why a program ended with something other than 0."""
    error = str(report.get("error", ""))
    if account.oom_killed:
        return _out_of_memory(account, limits)
    if report.get("stage") == "compile":
        return candidate_failed(error.rpartition("\n")[2], Verdict.COMPILE_ERROR, error)
    if report:
        return raised(str(report.get("exception")), report.get("errno"), error, account, limits)
    if account.candidate.status == -signal.SIGXFSZ:
        return _over(Verdict.FILE_SIZE_LIMIT, "file_size_bytes", limits.file_size_bytes, limits)
    return candidate_failed(f"it ended with {_ending(account.candidate.status)}", Verdict.RUNTIME_ERROR)


def _last_report(account: Account) -> dict[str, Any]:
    """What the program's process said last of itself, as far as it is readable."""
    said = account.report.strip().rpartition(b"\n")[2]
    if len(said) > _LONGEST_WORD:
        return {}
    try:
        line = json.loads(said or b"{}")
    except (ValueError, RecursionError):
        return {}
    return line if isinstance(line, dict) and "index" not in line else {}


def _out_of_memory(account: Account, limits: Limits) -> Outcome:
    return _over(Verdict.MEMORY_LIMIT, "memory_bytes", max(account.peak_memory_bytes, limits.memory_bytes), limits)


def _over(verdict: Verdict, limit: str, measured: int, limits: Limits, error: str = "", more: str = "") -> Outcome:
    allowed = getattr(limits, limit)
    message = f"{limit}: {measured} measured, {allowed} allowed" + (f"; {more}" if more else "")
    cause = Cause(kind=CauseKind.LIMIT, message=message, limit=limit, measured=measured, allowed=allowed)
    return Outcome(verdict=verdict, cause=cause, error=error[:_ERROR_CHARS])


def _ending(status: int) -> str:
    if status >= 0:
        return f"exit code {status}"
    try:
        return f"signal {signal.Signals(-status).name}"
    except ValueError:
        return f"signal {-status}"
