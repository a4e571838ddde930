"""`Report` and `Description` records <-> their messages.

A report must always get out, whatever a program wrote: text that is no Unicode is escaped rather than refused, and outputs too
long for a message are cut off, which the report says. A number from a newer engine reads as an error that says so.

A report may list a thousand tests, so what is done for each is little: nested messages are given as dicts, which protobuf reads
in place where it would copy messages, and results that differ in nothing are one immutable record.
"""

import enum
from dataclasses import fields
from functools import lru_cache
from typing import Any

from engine.errors import EngineFault
from engine.records import (
    MIB,
    Cause,
    CauseKind,
    Description,
    Language,
    Limits,
    Report,
    TestResult,
    Trust,
    Verdict,
)
from engine.wire.jobs import MAX_MESSAGE_BYTES, limits_from_message, limits_message
from engine.wire.numbers import Numbers
from protos.execution.v1 import execution_pb2 as pb

_PLAIN_FIELDS = [
    field.name for field in fields(Report) if field.name not in {"id", "verdict", "cause", "tests", "trust", "error"}
]
"""Fields of a report that are the same number, flag or bytes on both sides."""

_VERDICTS = Numbers(Verdict, pb.Verdict, "VERDICT_")
_CAUSES = Numbers(CauseKind, pb.CauseKind, "CAUSE_KIND_")
_TRUSTS = Numbers(Trust, pb.Trust, "TRUST_")

_ROOM_FOR_THE_REST = MIB
_LONGEST_OUTPUT = MAX_MESSAGE_BYTES // 2 - 4 * MIB
_LONGEST_ERROR = MIB


def response_from_report(report: Report) -> pb.ExecuteResponse:
    """The response that carries a report."""
    message = pb.Report(
        verdict=_VERDICTS.number(report.verdict),
        cause={
            "kind": _CAUSES.number(report.cause.kind),
            "message": _escaped(report.cause.message),
            "limit": report.cause.limit,
            "measured": report.cause.measured,
            "allowed": report.cause.allowed,
        },
        tests=[_fields_of_result(result) for result in report.tests],
        trust=_TRUSTS.number(report.trust),
        error=_escaped(report.error),
        **{name: getattr(report, name) for name in _PLAIN_FIELDS},
    )
    if message.ByteSize() > MAX_MESSAGE_BYTES - _ROOM_FOR_THE_REST:
        _cut(message)
    return pb.ExecuteResponse(id=report.id, report=message)


def _cut(message: pb.Report) -> None:
    message.stdout_truncated |= len(message.stdout) > _LONGEST_OUTPUT
    message.stderr_truncated |= len(message.stderr) > _LONGEST_OUTPUT
    message.stdout, message.stderr = message.stdout[:_LONGEST_OUTPUT], message.stderr[:_LONGEST_OUTPUT]
    message.error = message.error[-_LONGEST_ERROR:]


def _fields_of_result(result: TestResult) -> dict[str, Any]:
    number = _VERDICTS.number(result.verdict)
    if not result.message and not result.cpu_time_ms:
        return {"index": result.index, "verdict": number}
    return {
        "index": result.index,
        "verdict": number,
        "message": _escaped(result.message),
        "cpu_time_ms": result.cpu_time_ms,
    }


def report_from_message(job_id: str, message: pb.Report) -> Report:
    """The report a message carries. Raises EngineFault for a verdict this client does not know."""
    cause = message.cause
    return Report(
        id=job_id,
        verdict=_member(_VERDICTS, message.verdict, "VERDICT_"),
        cause=Cause(
            kind=_member(_CAUSES, cause.kind, "CAUSE_KIND_"),
            message=cause.message,
            limit=cause.limit,
            measured=cause.measured,
            allowed=cause.allowed,
        ),
        tests=tuple([_result(test.index, test.verdict, test.message, test.cpu_time_ms) for test in message.tests]),
        trust=_member(_TRUSTS, message.trust, "TRUST_"),
        error=message.error,
        **{name: getattr(message, name) for name in _PLAIN_FIELDS},
    )


def _result(index: int, number: int, message: str, cpu_time_ms: float) -> TestResult:
    if not message and not cpu_time_ms:
        return _result_without_more(index, number)
    return TestResult(index=index, verdict=_member(_VERDICTS, number, "VERDICT_"), message=message, cpu_time_ms=cpu_time_ms)


@lru_cache(maxsize=4096)
def _result_without_more(index: int, number: int) -> TestResult:
    return TestResult(index=index, verdict=_member(_VERDICTS, number, "VERDICT_"))


def message_from_description(description: Description) -> pb.DescribeResponse:
    """The answer to Describe."""
    return pb.DescribeResponse(
        languages=[pb.DescribeResponse.Language(name=known.name, version=known.version) for known in description.languages],
        default_limits=limits_message(description.default_limits),
        maximum_limits=limits_message(description.maximum_limits),
        slots=description.slots,
        version=description.version,
    )


def description_from_message(message: pb.DescribeResponse) -> Description:
    """What an engine says of itself."""
    return Description(
        languages=tuple(Language(name=known.name, version=known.version) for known in message.languages),
        default_limits=limits_from_message(message.default_limits, Limits()),
        maximum_limits=limits_from_message(message.maximum_limits, Limits()),
        slots=message.slots,
        version=message.version,
    )


def _member[E: enum.Enum](numbers: Numbers[E], number: int, prefix: str) -> E:
    member = numbers.member(number)
    if member is None:
        raise EngineFault(f"the engine answered with {prefix}{number}, unknown here; use a client of the engine's version")
    return member


def _escaped(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
