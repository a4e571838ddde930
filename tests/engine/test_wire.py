"""What crosses the wire arrives as it left, and what may not come in is refused with one clear line."""

import asyncio
import enum
import math
from dataclasses import replace
from typing import NamedTuple

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import records, wire
from engine.equality import value_difference
from engine.errors import BadJob, Busy, Draining, EngineFault, Unavailable
from engine.records import (
    MIB,
    AssertTests,
    Cause,
    CauseKind,
    CompareRule,
    FunctionTest,
    FunctionTests,
    Job,
    Limits,
    Report,
    StdioTest,
    StdioTests,
    StopRule,
    Trust,
    Verdict,
)
from engine.wire.fields import read_large
from engine.wire.groups import GROUP_BYTES, GROUP_LENGTH, Outbox
from engine.wire.jobs import LARGEST_REQUEST_BYTES
from engine.wire.values import MAX_DEPTH, message_from_value, value_from_message
from protos.execution.v1 import execution_pb2 as pb
from tests.engine.fakes import DESCRIPTION

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
HASHABLE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.complex_numbers() | TEXT | st.binary(),
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3),
    max_leaves=5,
)
PLAIN = st.recursive(
    HASHABLE,
    lambda inner: st.lists(inner) | st.dictionaries(HASHABLE, inner, max_size=3) | st.sets(HASHABLE, max_size=3),
    max_leaves=10,
)


class Colour(enum.IntEnum):
    RED = 1


class Point(NamedTuple):
    x: int


COLLIDING = [pb.Value(big_integer=hex((2**61 - 1) * number)) for number in range(10, 1_100)]
"""Integers with the same hash."""
JOB = Job(id="a", program=b"pass")


def job_that_arrives(job: Job) -> Job:
    """Through bytes, as the server gets it."""
    request = pb.ExecuteRequest.FromString(wire.request_from_job(job).SerializeToString())
    return wire.job_from_request(request, DESCRIPTION)


def report_that_arrives(report: Report) -> Report:
    response = pb.ExecuteResponse.FromString(wire.response_from_report(report).SerializeToString())
    return wire.report_from_message(response.id, response.report)


def exactly(value: object) -> object:
    """What tells values apart that are equal: types, the sign of zero, nan."""
    match value:
        case list() | tuple():
            return (type(value), [exactly(item) for item in value])
        case set() | frozenset():
            return (type(value), sorted(repr(exactly(item)) for item in value))
        case dict():
            return (dict, [(exactly(key), exactly(item)) for key, item in value.items()])
    return (type(value), repr(value))


@given(PLAIN)
def test_plain_data_arrives_as_it_left(value):
    """Types, order, the sign of zero and nan survive."""
    message = pb.Value.FromString(message_from_value(value, "x").SerializeToString())
    assert exactly(value_from_message(message, "x")) == exactly(value)


@pytest.mark.parametrize("value", [2**63 - 1, 2**63, -(2**63), -(2**63) - 1, -0.0, math.inf, True, 0, b"\xff", "\0"])
def test_values_at_the_edges_arrive(value):
    """The ends of 64 bits, many digits, signed zero and infinity survive."""
    arrived = value_from_message(message_from_value(value, "x"), "x")
    assert type(arrived) is type(value)
    assert value_difference(value, arrived) is None
    assert repr(arrived) == repr(value)


def test_integers_may_have_any_number_of_digits():
    """Hexadecimal has no limit of digits and takes linear time."""
    assert value_from_message(message_from_value([10**100_000], "x"), "x") == [10**100_000]
    with pytest.raises(BadJob, match="an integer of 33220 bits"):
        message_from_value({10**10_000: object()}, "x")


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (object(), "object"),
        (Colour.RED, "Colour"),
        (Point(1), "Point"),
        (range(3), "range"),
        (bytearray(b"x"), "bytearray"),
        (..., "ellipsis"),
    ],
)
def test_a_value_that_cannot_cross_is_named(value, name):
    """The refusal says which type it is and where it stands."""
    tests = FunctionTests(entry_point="f", tests=(FunctionTest(args=(1, {"k": [value]}), expected=1),))
    with pytest.raises(BadJob, match=rf"test 0: args\[1\]\['k'\]\[0\]: .*{name}"):
        wire.request_from_job(replace(JOB, tests=tests))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"limits": None}, "limits is of type NoneType; give Limits"),
        ({"stdin": "1 2"}, "stdin is of type str; give bytes"),
        (
            {"tests": FunctionTests(entry_point="f", tests=(FunctionTest(args=3, expected=1),))},  # type: ignore[arg-type]  # what is tested
            "tests[0].args is of type int; give tuple or list",
        ),
    ],
)
def test_a_slip_in_a_type_names_its_field(change, message):
    """Else it would be an error of some library's, and no EngineError."""
    with pytest.raises(BadJob) as refusal:
        wire.request_from_job(replace(JOB, **change))
    assert str(refusal.value).startswith(message)


def test_depth_is_refused_rather_than_lost():
    """The deepest data that is taken arrives through protobuf's parser; deeper data is refused by name."""

    def nested(depth):
        value: object = 1
        for _ in range(depth):
            value = [value]
        return value

    deepest = FunctionTests(entry_point="f", tests=(FunctionTest(kwargs={"x": nested(MAX_DEPTH)}, expected=1),))
    assert job_that_arrives(replace(JOB, tests=deepest)).tests == deepest
    deeper = FunctionTests(entry_point="f", tests=(FunctionTest(args=(nested(MAX_DEPTH + 1),), expected=1),))
    with pytest.raises(BadJob, match="more than 40 deep"):
        wire.request_from_job(replace(JOB, tests=deeper))
    with pytest.raises(BadJob, match="more than 40 deep"):
        message_from_value(nested(100_000), "x")


@pytest.mark.parametrize(
    "tests",
    [
        None,
        StdioTests(tests=(StdioTest(stdin=b"\xff", expected_stdout=b"\0"),), compare=CompareRule.TOKENS),
        FunctionTests(entry_point="f", tests=(FunctionTest(args=(1,), kwargs={"k": (2,)}, expected={3}),), float_tolerance=0.5),
        AssertTests(code="assert f('\ud800') == 'ä'", entry_points=("f", "g"), prompt="import math", check="check"),
    ],
)
def test_a_job_arrives_as_it_left(tests):
    """Every field of a job survives, whatever its tests."""
    job = Job(
        id="jób",
        program=b"\xff\x00",
        files={"data/in.txt": b"x"},
        stdin=b"y",
        limits=Limits(cpu_time_ms=1, processes=2),
        tests=tests,
        stop=StopRule.RUN_ALL,
        queue_time_ms=5,
    )
    assert job_that_arrives(job) == job


def test_zeros_become_the_defaults():
    """A request that says nothing of limits, rules and queue time gets the engine's."""
    request = pb.ExecuteRequest(id="a", program=pb.Program(language="python", source=b""))
    request.limits.processes = 7
    job = wire.job_from_request(request, replace(DESCRIPTION, default_limits=Limits(cpu_time_ms=123)))
    assert job.limits == Limits(cpu_time_ms=123, processes=7)
    assert job.stop is StopRule.FIRST_FAILURE
    assert job.queue_time_ms == Job(id="a", program="").queue_time_ms


def test_a_job_that_names_no_limits_gets_those_of_the_engine():
    """What the engine was told to allow holds for clients as well that never thought of limits; here it is less than usual."""
    least = Limits(cpu_time_ms=1_000, memory_bytes=64 * MIB)
    little = replace(DESCRIPTION, default_limits=least, maximum_limits=least)
    request = wire.request_from_job(Job(id="a", program=""))
    assert wire.job_from_request(request, little).limits == least


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": "x" * 257}, "257 bytes long"),
        ({"language": ""}, "the program names no language; this engine runs python"),
        ({"limits": Limits(memory_bytes=512)}, "memory_bytes is 512; give at least the 16777216 that an interpreter needs"),
        ({"language": "cobol"}, "unknown language 'cobol'; this engine runs python"),
        ({"limits": Limits(cpu_time_ms=60_001)}, "cpu_time_ms is 60001; the most this engine allows is 60000"),
        ({"limits": Limits(memory_bytes=-1)}, "memory_bytes is -1"),
        ({"queue_time_ms": -1}, "queue_time_ms is -1"),
        ({"files": {"/etc/passwd": b""}}, "is absolute"),
        ({"files": {"a/../../b": b""}}, 'contains ".."'),
        ({"files": {"..": b""}}, 'contains ".."'),
        ({"files": {"a\0b": b""}}, "contains a NUL"),
        ({"files": {"": b""}}, "is empty"),
        ({"files": {".": b""}}, "not in its shortest form"),
        ({"files": {"a//b": b""}}, "not in its shortest form"),
        ({"files": {"./a": b""}}, "not in its shortest form"),
        ({"files": {"x" * 256: b""}}, "longer than 255 bytes"),
        ({"files": {"a/" * 512 + "a": b""}}, "longer than 1024 bytes"),
        ({"files": {"a": b"", "a/b": b""}}, "'a/b' lies below 'a'"),
        ({"files": {str(number): b"" for number in range(1_001)}}, "1001 files"),
        ({"tests": StdioTests(tests=(StdioTest(expected_stdout=b""),) * 10_001)}, "10001 tests"),
        ({"tests": FunctionTests(entry_point="f", tests=(FunctionTest(expected=1),) * 10_001)}, "10001 tests"),
        ({"tests": AssertTests(code="assert f()", entry_points=("f",) * 1_001)}, "1001 entry points"),
        ({"files": {"a": bytes(32 * 2**20 + 1)}}, "33554433 bytes together"),
        ({"tests": StdioTests(tests=())}, "no tests among the tests"),
        ({"tests": FunctionTests(entry_point="f", tests=())}, "no tests among the tests"),
        ({"tests": FunctionTests(entry_point=" ", tests=(FunctionTest(expected=1),))}, "without an entry point"),
        ({"tests": FunctionTests(entry_point="f", tests=(FunctionTest(kwargs={"a-b": 1}, expected=1),))}, "'a-b' is no Python"),
        ({"tests": FunctionTests(entry_point="f", tests=(FunctionTest(expected=1),), float_tolerance=math.nan)}, "is nan"),
        ({"tests": AssertTests(code="", entry_points=())}, "without an entry point"),
        ({"tests": AssertTests(code="", entry_points=("",))}, "without an entry point"),
        ({"tests": AssertTests(code="", entry_points=("f",), check="a.b")}, "check is 'a.b'"),
    ],
)
def test_a_job_that_cannot_be_run_is_refused_with_its_reason(change, message):
    """One line that says what is wrong."""
    with pytest.raises(BadJob) as refusal:
        job_that_arrives(replace(JOB, **change))
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "value",
    [
        pb.Value(),
        pb.Value(big_integer="12"),
        pb.Value(big_integer="0x" + "g"),
        pb.Value(set=pb.Value.Items(items=[pb.Value(list=pb.Value.Items())])),
        pb.Value(dict=pb.Value.Entries(keys=[pb.Value(integer=1)])),
        pb.Value(set=pb.Value.Items(items=COLLIDING)),
        pb.Value(frozenset=pb.Value.Items(items=COLLIDING)),
        pb.Value(dict=pb.Value.Entries(keys=COLLIDING, values=COLLIDING)),
        pb.Value(dict=pb.Value.Entries(keys=[pb.Value(dict=pb.Value.Entries())], values=[pb.Value(integer=1)])),
    ],
)
def test_a_malformed_value_is_refused(value):
    """A message that is no Python value is a bad job, not a fault of the engine."""
    request = wire.request_from_job(JOB)
    request.function_tests.entry_point = "f"
    request.function_tests.tests.add(expected=value)
    with pytest.raises(BadJob, match="test 0: expected"):
        wire.job_from_request(request, DESCRIPTION)


@pytest.mark.parametrize(
    "items", [{2**power for power in range(1_000)}, {(x, y) for x in range(100) for y in range(100)}, {-1, -2}]
)
def test_honest_sets_do_not_collide_too_much(items):
    """Powers of two share sixty-one hashes."""
    assert value_from_message(message_from_value(items, "x"), "x") == items
    assert value_from_message(message_from_value(dict.fromkeys(items), "x"), "x") == dict.fromkeys(items)


def test_a_rule_from_the_future_is_refused():
    """A number that this engine's version does not know is a bad job."""
    request = wire.request_from_job(JOB)
    request.stop_rule = 99  # type: ignore[assignment]  # proto3 enumerations are open
    with pytest.raises(BadJob, match="StopRule 99 is unknown"):
        wire.job_from_request(request, DESCRIPTION)


def test_a_report_arrives_as_it_left():
    """Every field of a report survives."""
    report = Report(
        id="a",
        verdict=Verdict.MEMORY_LIMIT,
        cause=Cause(kind=CauseKind.LIMIT, message="m", limit="memory_bytes", measured=3, allowed=2),
        tests=(
            records.TestResult(index=0, verdict=Verdict.PASSED, cpu_time_ms=0.5),
            records.TestResult(index=1, verdict=Verdict.NOT_RUN),
        ),
        tests_passed=1,
        tests_total=2,
        trust=Trust.EXAMINED,
        error="e",
        exit_code=-9,
        cpu_time_ms=1.5,
        wall_time_ms=2.5,
        queue_time_ms=3.5,
        peak_memory_bytes=4,
        stdout=b"\xff",
        stderr=b"\0",
        stdout_truncated=True,
        stderr_truncated=True,
    )
    assert report_that_arrives(report) == report


@pytest.mark.parametrize("verdict", Verdict)
@pytest.mark.parametrize("trust", Trust)
def test_every_verdict_and_label_has_a_number(verdict, trust):
    """No member of the records is missing on the wire."""
    assert report_that_arrives(Report(id="a", verdict=verdict, trust=trust)).verdict is verdict


def test_text_that_is_no_unicode_does_not_keep_a_report_back():
    """A program may put a lone surrogate into its error; the report gets out all the same."""
    report = Report(id="a", verdict=Verdict.RUNTIME_ERROR, error="\ud800", cause=Cause(message="\udfff"))
    assert report_that_arrives(report).error == r"\ud800"


def test_outputs_too_long_for_a_message_are_cut_off_and_the_report_says_so():
    """A report gets out even where its outputs do not fit."""
    report = Report(id="a", verdict=Verdict.FINISHED, stdout=bytes(64 * 2**20), stderr=b"x", error="e" * 2**20)
    response = wire.response_from_report(report)
    assert response.ByteSize() < wire.MAX_MESSAGE_BYTES
    assert (response.report.stdout_truncated, response.report.stderr_truncated) == (True, False)


def test_a_verdict_from_the_future_is_an_error():
    """A client does not take an answer it cannot read for another one."""
    with pytest.raises(EngineFault, match="VERDICT_99"):
        wire.report_from_message("a", pb.Report(verdict=99))  # type: ignore[arg-type]  # proto3 enumerations are open


@given(st.lists(st.integers(0, 2 * GROUP_BYTES), max_size=100))
def test_groups_keep_order_and_bounds(sizes):
    """Nothing is lost or overtaken; a group is no larger than it may be, or it is one message."""

    class Message:
        def __init__(self, size):
            self.size = size

        def ByteSize(self):  # protobuf's name
            return self.size

    async def grouped():
        outbox: Outbox[Message] = Outbox(gather_ms=60_000)
        for size in sizes:
            outbox.put(Message(size), hurry=False)
        outbox.flush()
        while group := await outbox.group():
            yield [message.size for message in group]
            outbox.flush()
        assert not len(outbox)

    async def groups():
        return [group async for group in grouped()]

    found = asyncio.run(groups())
    assert [size for group in found for size in group] == sizes
    assert all(len(group) == 1 or (len(group) <= GROUP_LENGTH and sum(group) <= GROUP_BYTES) for group in found)


def test_the_largest_job_fits_into_a_message_of_a_stream():
    """What is taken for a job of its own can be sent on a stream too."""
    size = wire.request_from_job(replace(JOB, stdin=bytes(2**25))).ByteSize()
    room = LARGEST_REQUEST_BYTES - size + 2**25
    largest = wire.request_from_job(replace(JOB, stdin=bytes(room)))
    assert largest.ByteSize() == LARGEST_REQUEST_BYTES
    assert pb.ExecuteStreamRequest(requests=[largest]).ByteSize() <= wire.MAX_MESSAGE_BYTES
    with pytest.raises(BadJob, match="the most is"):
        wire.request_from_job(replace(JOB, stdin=bytes(room + 1)))


def test_a_description_arrives_as_it_left():
    """Languages, limits and slots survive."""
    assert wire.description_from_message(wire.message_from_description(DESCRIPTION)) == DESCRIPTION


@pytest.mark.parametrize("error", [BadJob("bad"), Busy(retry_after_ms=7), Draining(retry_after_ms=8), RuntimeError("secret")])
def test_a_refusal_on_a_stream_means_the_same_to_the_client(error):
    """Kind and delay survive; the details of a fault do not get out."""
    response = wire.response_from_refusal("a", wire.refusal_of(error))
    arrived = wire.error_from_rejection(response.rejected)
    kinds = {BadJob: BadJob, Busy: Busy, Draining: Unavailable, RuntimeError: EngineFault}
    assert type(arrived) is kinds[type(error)]
    assert getattr(arrived, "retry_after_ms", None) == getattr(error, "retry_after_ms", None)
    assert "secret" not in str(arrived)


@pytest.mark.parametrize(
    ("code", "details"),
    [(grpc.StatusCode.UNAVAILABLE, "Socket closed"), (grpc.StatusCode.INTERNAL, "Internal error from Core")],
)
def test_a_broken_connection_is_no_word_of_the_engine(code, details):
    """Also where it broke in the middle of a message, which grpc.aio calls internal."""
    assert wire.error_from_rpc(grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details)) is None


def test_the_status_of_a_refusal_says_when_to_retry():
    """A full queue is RESOURCE_EXHAUSTED with google.rpc.RetryInfo, as the proto says."""
    status = wire.status_of(wire.refusal_of(Busy(retry_after_ms=1_500)))
    failure = grpc.aio.AioRpcError(
        status.code,
        grpc.aio.Metadata(),
        grpc.aio.Metadata(*status.trailing_metadata),
        status.details,
    )
    error = wire.error_from_rpc(failure)
    assert isinstance(error, Busy)
    assert error.retry_after_ms == 1_500


@given(st.lists(st.sampled_from(["text", "number", "test"]), max_size=30))
def test_fields_are_counted_wherever_they_are(kinds):
    """Those of a request, of the tests in it, and of the values in those."""
    request = pb.ExecuteRequest(function_tests={"tests": []})
    for kind in kinds:
        test = request.function_tests.tests.add()
        if kind == "text":
            test.args.add().text = "x" * 300
        elif kind == "number":
            test.expected.list.items.add().float = 0.5
    fields = 1 + len(kinds) + 2 * kinds.count("text") + 4 * kinds.count("number")
    assert read_large(request.SerializeToString(), pb.ExecuteRequest, most_fields=fields) == request
    with pytest.raises(BadJob, match=f"more than {fields - 1} fields"):
        read_large(request.SerializeToString(), pb.ExecuteRequest, most_fields=fields - 1)


@given(st.binary())
def test_any_bytes_are_a_message_or_a_bad_job(data):
    """As protobuf sees it, once they have been counted."""
    try:
        found = read_large(data, pb.ExecuteRequest, most_fields=10)
    except BadJob:
        return
    assert found == pb.ExecuteRequest.FromString(data)
