"""`Job` records <-> `ExecuteRequest` messages.

The client goes one way, and learns of data that cannot cross before anything is sent. The server goes the other way:
it fills in the defaults for zeros and absent fields and then applies engine.wire.acceptance, so that a `Job` behind the
door is complete and allowed. Text travels as UTF-8; lone surrogates, which sampled text may contain, survive as bytes
that Python itself then refuses to compile.
"""

import enum
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from engine.errors import BadJob
from engine.records import (
    MIB,
    AssertTests,
    CompareRule,
    Description,
    FunctionTest,
    FunctionTests,
    Job,
    Limits,
    StdioTest,
    StdioTests,
    StopRule,
    Tests,
)
from engine.wire.acceptance import check, check_id
from engine.wire.values import message_from_value, value_from_message
from protos.execution.v1 import execution_pb2 as pb

MAX_MESSAGE_BYTES = 64 * MIB
"""Of one message, in both directions, on both sides."""

LARGEST_REQUEST_BYTES = MAX_MESSAGE_BYTES - 64
"""On a stream a request lies within a message, which adds its length and the number of a field."""

DEFAULT_QUEUE_TIME_MS: int = 600_000
"""What a request without a queue time waits at most."""


def request_from_job(job: Job) -> pb.ExecuteRequest:
    """The request for a job. Raises BadJob for data that cannot cross."""
    check_id(_plain(job.id, "the id"))
    program = pb.Program(
        language=_plain(job.language, "the language"),
        source=job.program if isinstance(job.program, bytes) else _bytes(job.program),
        files={_plain(name, "a file name"): content for name, content in job.files.items()},
        stdin=job.stdin,
    )
    request = pb.ExecuteRequest(
        id=job.id,
        program=program,
        limits=limits_message(job.limits),
        stop_rule=f"STOP_RULE_{job.stop.name}",
        queue_time_ms=job.queue_time_ms,
    )
    _add_tests(request, job.tests)
    if (size := request.ByteSize()) > LARGEST_REQUEST_BYTES:
        raise BadJob(f"job {job.id!r} has {size} bytes; the most is {LARGEST_REQUEST_BYTES}")
    return request


def job_from_request(request: pb.ExecuteRequest, description: Description) -> Job:
    """The job a request asks for. Raises BadJob where an engine of this description does not run it."""
    job = Job(
        id=request.id,
        language=request.program.language,
        program=request.program.source,
        files=dict(request.program.files),
        stdin=request.program.stdin,
        limits=limits_from_message(request.limits, description.default_limits),
        tests=_tests_from(request),
        stop=_rule(StopRule, pb.StopRule, request.stop_rule, StopRule.FIRST_FAILURE),
        queue_time_ms=request.queue_time_ms or DEFAULT_QUEUE_TIME_MS,
    )
    check(job, description)
    return job


def limits_message(limits: Limits) -> pb.Limits:
    """Limits as a message. Raises BadJob for a number that its field cannot hold."""
    try:
        return pb.Limits(**{field.name: getattr(limits, field.name) for field in fields(Limits)})
    except (ValueError, TypeError) as error:
        raise BadJob(f"the limits cannot be sent: {error}") from error


def limits_from_message(message: pb.Limits, default: Limits) -> Limits:
    """Limits from a message, with zeros replaced by the default."""
    names = [field.name for field in fields(Limits)]
    return Limits(**{name: getattr(message, name) or getattr(default, name) for name in names})


def _add_tests(request: pb.ExecuteRequest, tests: Tests | None) -> None:
    match tests:
        case StdioTests():
            stdio_tests = (pb.StdioTests.Test(stdin=test.stdin, expected_stdout=test.expected_stdout) for test in tests.tests)
            compare_rule = f"COMPARE_RULE_{tests.compare.name}"
            request.stdio_tests.CopyFrom(pb.StdioTests(tests=stdio_tests, compare_rule=compare_rule))
        case FunctionTests():
            function_tests = pb.FunctionTests(
                entry_point=_plain(tests.entry_point, "the entry point"),
                tests=(_function_test(test, index) for index, test in enumerate(tests.tests)),
                float_tolerance=tests.float_tolerance,
            )
            request.function_tests.CopyFrom(function_tests)
        case AssertTests():
            assert_tests = pb.AssertTests(
                code=_bytes(tests.code),
                entry_points=[_plain(name, "an entry point") for name in tests.entry_points],
                prompt=_bytes(tests.prompt),
                check=_plain(tests.check, "check"),
            )
            request.assert_tests.CopyFrom(assert_tests)


def _function_test(test: FunctionTest, index: int) -> pb.FunctionTests.Test:
    where = f"test {index}"
    return pb.FunctionTests.Test(
        args=[message_from_value(value, f"{where}: args[{position}]") for position, value in enumerate(test.args)],
        kwargs={
            _plain(name, f"{where}: a keyword"): message_from_value(value, f"{where}: kwargs[{name!r}]")
            for name, value in test.kwargs.items()
        },
        expected=message_from_value(test.expected, f"{where}: expected"),
    )


def _tests_from(request: pb.ExecuteRequest) -> Tests | None:
    match request.WhichOneof("tests"):
        case "stdio_tests":
            stdio = request.stdio_tests
            return StdioTests(
                tests=tuple(StdioTest(stdin=test.stdin, expected_stdout=test.expected_stdout) for test in stdio.tests),
                compare=_rule(CompareRule, pb.CompareRule, stdio.compare_rule, CompareRule.LINES),
            )
        case "function_tests":
            function = request.function_tests
            return FunctionTests(
                entry_point=function.entry_point,
                tests=tuple(_function_tests_from(function.tests)),
                float_tolerance=function.float_tolerance,
            )
        case "assert_tests":
            asserts = request.assert_tests
            return AssertTests(
                code=_text(asserts.code, "the test code"),
                entry_points=tuple(asserts.entry_points),
                prompt=_text(asserts.prompt, "the prompt"),
                check=asserts.check,
            )
    return None


def _function_tests_from(tests: Iterable[pb.FunctionTests.Test]) -> Iterable[FunctionTest]:
    for index, test in enumerate(tests):
        where = f"test {index}"
        yield FunctionTest(
            args=tuple(value_from_message(value, f"{where}: args[{place}]") for place, value in enumerate(test.args)),
            kwargs={name: value_from_message(value, f"{where}: kwargs[{name!r}]") for name, value in test.kwargs.items()},
            expected=value_from_message(test.expected, f"{where}: expected"),
        )


def _rule[R: enum.Enum](rules: type[R], wire_enum: Any, number: int, default: R) -> R:
    """The rule a wire number stands for: unspecified is the default, a number from the future is refused."""
    if number == 0:
        return default
    if number not in wire_enum.values():
        raise BadJob(f"{rules.__name__} {number} is unknown to this engine; known are {[rule.value for rule in rules]}")
    return rules[wire_enum.Name(number).partition("_RULE_")[2]]


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _text(data: bytes, what: str) -> str:
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise BadJob(f"{what} is not UTF-8 at byte {error.start}") from error


def _plain(text: str, what: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadJob(f"{what} has a lone surrogate at position {error.start}") from error
    return text
