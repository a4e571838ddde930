"""Bytes that are no requests, at the socket of a real engine: the call fails or is dropped, and the next program passes."""

import contextlib
import random
import socket
from typing import Any

import grpc
import pytest

from engine import wire
from engine.client import AssertTests, AsyncClient, FunctionTest, FunctionTests, Job, LocalEngine, StdioTest, StdioTests, Verdict
from protos.execution.v1 import execution_pb2 as pb

pytestmark = pytest.mark.jail

ADD = AssertTests(code="assert add(1, 2) == 3", entry_points=("add",))
TESTS = (
    None,
    ADD,
    StdioTests(tests=(StdioTest(stdin=b"1", expected_stdout=b"2"),)),
    FunctionTests(entry_point="add", tests=(FunctionTest(args=(1, [2.5, {"k": (None,)}]), kwargs={"b": 1 << 80}, expected={3}),)),
)
ADDS = "def add(a, b): return a + b"
REQUESTS = [
    wire.request_from_job(Job(id=name, program=ADDS, tests=tests, files={"d/e.txt": b"x"}, stdin=b"y"))
    for name, tests in zip("abcd", TESTS, strict=True)
]


@pytest.fixture(scope="module")
def engine():
    with LocalEngine(slots=1) as started:
        yield started


def mutated(data, dice):
    """A few bytes changed, cut out, put in or doubled."""
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(data) + 1)
        end = min(len(data), at + dice.randrange(12))
        data = data[:at] + dice.choice((b"", dice.randbytes(dice.randrange(6)), data[at:end] * 2, b"\xff" * 10)) + data[end:]
    return data


async def passes(engine):
    """The next program, over a connection of its own."""
    async with AsyncClient(engine.address) as client:
        job = Job(id="next", program=ADDS, tests=ADD)
        return (await client.execute(job)).verdict is Verdict.PASSED


async def test_mutated_requests_are_refused_or_answered(engine):
    """One by one. Whatever is still a request has a report, whatever is not has INVALID_ARGUMENT."""
    dice = random.Random(4)
    async with grpc.aio.insecure_channel(engine.address) as channel:
        execute: Any = channel.unary_unary("/rrtf.execution.v1.Execution/Execute")
        outcomes: set[object] = set()
        for number in range(400):
            request = REQUESTS[number % len(REQUESTS)].SerializeToString()
            try:
                answer = pb.ExecuteResponse.FromString(await execute(mutated(request, dice)))
                outcomes.add(answer.HasField("report"))
            except grpc.aio.AioRpcError as error:
                outcomes.add(error.code())
    assert outcomes == {True, grpc.StatusCode.INVALID_ARGUMENT}
    assert await passes(engine)


async def test_mutated_messages_of_a_stream_end_no_more_than_the_stream(engine):
    """Each as the only message of a stream, which ends well or with INVALID_ARGUMENT."""
    dice = random.Random(5)
    async with grpc.aio.insecure_channel(engine.address) as channel:
        execute: Any = channel.stream_stream("/rrtf.execution.v1.Execution/ExecuteStream")
        codes = set()
        for _ in range(200):
            call = execute(iter([mutated(pb.ExecuteStreamRequest(requests=REQUESTS).SerializeToString(), dice)]))
            with contextlib.suppress(grpc.aio.AioRpcError):
                async for _ in call:
                    pass
            codes.add(await call.code())
    assert codes == {grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT}
    assert await passes(engine)


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


async def test_bytes_that_are_no_http_are_dropped(engine):
    """Noise, another protocol, a beginning without an end, frames that lie about their length, connections that say nothing."""
    dice = random.Random(6)
    said = [b"", b"GET / HTTP/1.1\r\n\r\n", PREFACE[:9], PREFACE, PREFACE + b"\xff" * 9]
    said += [dice.randbytes(dice.randrange(2_000)) for _ in range(40)]
    said += [PREFACE + dice.randbytes(dice.randrange(200)) for _ in range(40)]
    connections = []
    for data in said:
        connections.append(socket.socket(socket.AF_UNIX))
        connections[-1].connect(engine.address.removeprefix("unix:"))
        connections[-1].sendall(data)
    assert await passes(engine)
    for connection in connections:
        connection.close()
    assert await passes(engine)
