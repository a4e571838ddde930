"""`Job` records <-> `ExecuteRequest` messages.

The client goes one way, and learns of data that cannot cross before anything is sent. The server goes the other way:
it fills in the defaults for zeros and absent fields and then applies engine.wire.acceptance, so that a `Job` behind the
door is complete and allowed. Text travels as UTF-8; lone surrogates, which sampled text may contain, survive as bytes
that Python itself then refuses to compile.
"""

import enum
from collections.abc import Callable, Iterable
from dataclasses import fields
from functools import lru_cache
from operator import attrgetter
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
from engine.wire.acceptance import check, check_counts, check_id
from engine.wire.numbers import Numbers
from engine.wire.values import fill, value_from_message
from protos.execution.v1 import execution_pb2 as pb

MAX_MESSAGE_BYTES = 64 * MIB
"""Of one message, in both directions, on both sides."""

LARGEST_REQUEST_BYTES = MAX_MESSAGE_BYTES - 64
"""On a stream a request lies within a message, which adds its length and the number of a field."""

DEFAULT_QUEUE_TIME_MS: int = 600_000
"""What a request without a queue time waits at most."""

_STOP_RULES = Numbers(StopRule, pb.StopRule, "STOP_RULE_", StopRule.FIRST_FAILURE)
_COMPARE_RULES = Numbers(CompareRule, pb.CompareRule, "COMPARE_RULE_", CompareRule.LINES)
_LIMITS = [field.name for field in fields(Limits)]
_each_limit: Callable[[Any], tuple[int, ...]] = attrgetter(*_LIMITS)


def request_from_job(job: Job) -> pb.ExecuteRequest:
    """The request for a job. Raises BadJob for data that cannot cross."""
    _check_types(job)
    check_id(_plain(job.id, "the id"))
    request = pb.ExecuteRequest(
        id=job.id,
        program={
            "language": _plain(job.language, "the language"),
            "source": job.program if isinstance(job.program, bytes) else _bytes(job.program),
            "files": {_plain(name, "a file name"): content for name, content in job.files.items()},
            "stdin": job.stdin,
        },
        limits=limits_message(job.limits),
        stop_rule=_STOP_RULES.number(job.stop),
        queue_time_ms=job.queue_time_ms,
        deduplicate=job.deduplicate,
    )
    _add_tests(request, job.tests)
    if (size := request.ByteSize()) > LARGEST_REQUEST_BYTES:
        raise BadJob(f"job {job.id!r} has {size} bytes; the most is {LARGEST_REQUEST_BYTES}")
    return request


def _check_types(job: Job) -> None:
    """A slip such as text for bytes would else be an error of some library's, which names no field. Raises BadJob."""
    fields_of_job: list[tuple[str, object, tuple[type, ...]]] = [
        ("id", job.id, (str,)),
        ("language", job.language, (str,)),
        ("program", job.program, (str, bytes)),
        ("stdin", job.stdin, (bytes,)),
        ("limits", job.limits, (Limits,)),
        *((f"files[{name!r}]", content, (bytes,)) for name, content in job.files.items()),
    ]
    match job.tests:
        case StdioTests(tests=tests):
            for index, test in enumerate(tests):
                fields_of_job += [(f"tests[{index}].stdin", test.stdin, (bytes,))]
                fields_of_job += [(f"tests[{index}].expected_stdout", test.expected_stdout, (bytes,))]
        case FunctionTests(tests=calls):
            fields_of_job += [(f"tests[{index}].args", call.args, (tuple, list)) for index, call in enumerate(calls)]
        case AssertTests(code=code, entry_points=entry_points, prompt=prompt):
            fields_of_job += [("code", code, (str,)), ("prompt", prompt, (str,)), ("entry_points", entry_points, (tuple, list))]
    for name, value, wanted in fields_of_job:
        if not isinstance(value, wanted):
            raise BadJob(f"{name} is of type {type(value).__name__}; give {' or '.join(kind.__name__ for kind in wanted)}")


def job_from_request(request: pb.ExecuteRequest, description: Description) -> Job:
    """The job a request asks for. Raises BadJob where an engine of this description does not run it."""
    check_counts(
        files=len(request.program.files),
        tests=max(len(request.stdio_tests.tests), len(request.function_tests.tests)),
        entry_points=len(request.assert_tests.entry_points),
    )
    job = Job(
        id=request.id,
        language=request.program.language,
        program=request.program.source,
        files=dict(request.program.files),
        stdin=request.program.stdin,
        limits=limits_from_message(request.limits, description.default_limits),
        tests=_tests_from(request),
        stop=_rule(StopRule, _STOP_RULES, request.stop_rule),
        queue_time_ms=request.queue_time_ms or DEFAULT_QUEUE_TIME_MS,
        deduplicate=request.deduplicate,
    )
    check(job, description)
    return job


def limits_message(limits: Limits) -> pb.Limits:
    """Limits as a message, to be copied and not changed. Raises BadJob for a number that its field cannot hold."""
    try:
        return _limits_message(limits)
    except (ValueError, TypeError) as error:
        raise BadJob(f"the limits cannot be sent: {error}") from error


@lru_cache(maxsize=64)
def _limits_message(limits: Limits) -> pb.Limits:
    """Remembered, since most jobs have the limits of the one before."""
    return pb.Limits(**dict(zip(_LIMITS, _each_limit(limits), strict=True)))


def limits_from_message(message: pb.Limits, default: Limits) -> Limits:
    """Limits from a message, with zeros replaced by the default."""
    return _limits(_each_limit(message), default)


@lru_cache(maxsize=64)
def _limits(numbers: tuple[int, ...], default: Limits) -> Limits:
    return Limits(**{name: number or getattr(default, name) for name, number in zip(_LIMITS, numbers, strict=True)})


def _add_tests(request: pb.ExecuteRequest, tests: Tests | None) -> None:
    """Fills the request in place: protobuf would copy messages made apart, once for each level of nesting."""
    match tests:
        case StdioTests():
            stdio_tests = request.stdio_tests
            stdio_tests.compare_rule = _COMPARE_RULES.number(tests.compare)
            for stdio_test in tests.tests:
                stdio_tests.tests.add(stdin=stdio_test.stdin, expected_stdout=stdio_test.expected_stdout)
        case FunctionTests():
            function_tests = request.function_tests
            function_tests.SetInParent()
            function_tests.entry_point = _plain(tests.entry_point, "the entry point")
            function_tests.float_tolerance = tests.float_tolerance
            for index, function_test in enumerate(tests.tests):
                _fill_test(function_tests.tests.add(), function_test, f"test {index}")
        case AssertTests():
            assert_tests = request.assert_tests
            assert_tests.SetInParent()
            assert_tests.code = _bytes(tests.code)
            assert_tests.entry_points.extend(_plain(name, "an entry point") for name in tests.entry_points)
            assert_tests.prompt = _bytes(tests.prompt)
            assert_tests.check = _plain(tests.check, "check")


def _fill_test(message: pb.FunctionTests.Test, test: FunctionTest, where: str) -> None:
    for position, value in enumerate(test.args):
        fill(message.args.add(), value, f"{where}: args[{position}]")
    for name, value in test.kwargs.items():
        fill(message.kwargs[_plain(name, f"{where}: a keyword")], value, f"{where}: kwargs[{name!r}]")
    fill(message.expected, test.expected, f"{where}: expected")


def _tests_from(request: pb.ExecuteRequest) -> Tests | None:
    match request.WhichOneof("tests"):
        case "stdio_tests":
            stdio = request.stdio_tests
            return StdioTests(
                tests=tuple(StdioTest(stdin=test.stdin, expected_stdout=test.expected_stdout) for test in stdio.tests),
                compare=_rule(CompareRule, _COMPARE_RULES, stdio.compare_rule),
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


def _rule[R: enum.Enum](rules: type[R], numbers: Numbers[R], number: int) -> R:
    """The rule a wire number stands for: unspecified is the default, a number from the future is refused."""
    rule = numbers.member(number)
    if rule is None:
        raise BadJob(f"{rules.__name__} {number} is unknown to this engine; known are {[rule.value for rule in rules]}")
    return rule


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _text(data: bytes, what: str) -> str:
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise BadJob(f"{what} is not UTF-8 at byte {error.start}") from error


def _plain(text: str, what: str) -> str:
    try:
        text.isascii() or text.encode()
    except UnicodeEncodeError as error:
        raise BadJob(f"{what} has a lone surrogate at position {error.start}") from error
    return text
