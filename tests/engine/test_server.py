"""The service keeps the promises of execution.proto, seen through a raw gRPC channel."""

import asyncio
import socket
import sys
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from engine import wire
from engine.errors import Busy, CannotListen, JailUnavailable, Unavailable
from engine.records import MIB, Job, Limits, Report, Verdict
from engine.server import Stop, probe, serve
from engine.service import ExecutionService
from engine.wire.groups import GROUP_BYTES, GROUP_LENGTH
from protos.execution.v1 import execution_pb2 as pb
from protos.execution.v1 import execution_pb2_grpc as pb_grpc
from tests.engine.fakes import DESCRIPTION, FakeExecutor, fake_engine, nothing_to_prove


@asynccontextmanager
async def stub_of(engine):
    async with grpc.aio.insecure_channel(engine.address) as channel:
        yield pb_grpc.ExecutionStub(channel)


def request(name, program="pass"):
    return wire.request_from_job(Job(id=name, program=program))


def together(*requests):
    """One message of a stream."""
    return pb.ExecuteStreamRequest(requests=requests)


async def answer(call):
    """The one response of the next message."""
    [response] = (await call.read()).responses
    return response


async def answers(call):
    """All responses until the stream ends."""
    return [response async for message in call for response in message.responses]


def retry_after_ms(error):
    refusal = wire.error_from_rpc(error)
    assert isinstance(refusal, Busy | Unavailable)
    return refusal.retry_after_ms


async def test_a_program_is_executed_with_its_id(tmp_path):
    """The job reaches the executor and its report comes back."""
    async with fake_engine(tmp_path) as engine, stub_of(engine) as stub:
        response = await stub.Execute(request("a", "echo: hello"))
    assert response.id == "a"
    assert response.report.stdout == b"hello"


@pytest.mark.parametrize(
    ("program", "code", "delay_ms"),
    [("busy 1", grpc.StatusCode.RESOURCE_EXHAUSTED, 1), ("crash", grpc.StatusCode.INTERNAL, None)],
)
async def test_statuses_are_those_of_the_proto(tmp_path, program, code, delay_ms):
    """A full queue says when to retry; a fault of the engine says nothing of its insides."""
    async with fake_engine(tmp_path) as engine, stub_of(engine) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await stub.Execute(request("a", program))
    assert failure.value.code() is code
    assert "secret" not in str(failure.value.details())
    if delay_ms is not None:
        assert retry_after_ms(failure.value) == delay_ms


async def test_a_bad_job_is_an_invalid_argument(tmp_path):
    """The executor never sees it."""
    async with fake_engine(tmp_path) as engine, stub_of(engine) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await stub.Execute(pb.ExecuteRequest(id="a", program=pb.Program(language="cobol")))
        assert engine.executor.jobs == []
    assert failure.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert failure.value.details() == "unknown language 'cobol'; this engine runs python"


async def test_cancelling_a_call_ends_its_program(tmp_path):
    """A client that takes a request back does not leave its program running."""
    async with fake_engine(tmp_path) as engine, stub_of(engine) as stub:
        call = stub.Execute(request("a", "hold"))
        waiting = asyncio.create_task(engine.executor.running_are(1))
        await waiting
        call.cancel()
        await engine.executor.running_are(0)
        assert engine.executor.cancelled == ["a"]


async def test_a_client_that_vanishes_ends_its_programs(tmp_path):
    """Closing the connection in the middle of a stream cancels every program of the stream."""
    async with fake_engine(tmp_path) as engine:
        async with stub_of(engine) as stub:
            call = stub.ExecuteStream()
            for name in "abc":
                await call.write(together(request(name, "hold")))
            await engine.executor.running_are(3)
        await engine.executor.running_are(0)
        assert sorted(engine.executor.cancelled) == ["a", "b", "c"]


STOPS_BEING_THERE = """
import os, signal, sys
from engine.client import Client, Job
with Client(sys.argv[1]) as client:
    for report in client.execute_stream(Job(id=str(n), program="pass" if n == 0 else "hold") for n in range(3)):
        os.kill(os.getpid(), signal.SIGSTOP)
"""


async def test_a_connection_with_nobody_at_the_other_end_is_closed(tmp_path):
    """The client's process is stopped, so its kernel keeps the connection open and nobody answers. Its programs end."""
    async with fake_engine(tmp_path, keepalive_ms=500) as engine:
        client = await asyncio.create_subprocess_exec(sys.executable, "-c", STOPS_BEING_THERE, engine.address)
        try:
            await engine.executor.running_are(2)
            await engine.executor.running_are(0)
        finally:
            client.kill()
            await client.wait()
    assert sorted(engine.executor.cancelled) == ["1", "2"]


async def test_every_request_of_a_stream_is_answered_exactly_once(tmp_path):
    """Good, refused and faulty ones alike, each under its id."""
    programs = {"a": "pass", "b": "crash", "c": "busy 1", "d": "echo: x", "": "pass"}
    async with fake_engine(tmp_path) as engine, stub_of(engine) as stub:
        call = stub.ExecuteStream()
        for name, program in programs.items():
            plain = pb.Program(language="python", source=program.encode())
            await call.write(together(pb.ExecuteRequest(id=name, program=plain)))
        await call.done_writing()
        responses = await answers(call)
    assert sorted(response.id for response in responses) == sorted(programs)
    codes = {response.id: response.rejected.code for response in responses}
    assert codes == {"a": 0, "b": 13, "c": 8, "d": 0, "": 3}
    assert {response.id: response.rejected.retry_after_ms for response in responses}["c"] == 1


async def test_answers_come_as_they_are_done(tmp_path):
    """A program that takes long holds nobody up."""
    async with fake_engine(tmp_path) as engine, stub_of(engine) as stub:
        call = stub.ExecuteStream()
        await call.write(together(request("slow", "hold")))
        await call.write(together(request("quick")))
        assert (await answer(call)).id == "quick"
        engine.executor.released.set()
        assert (await answer(call)).id == "slow"


async def test_no_more_than_a_window_of_a_stream_is_under_way(tmp_path):
    """The engine reads no further while the window is full, and goes on when there is room."""
    async with fake_engine(tmp_path, stream_window=3) as engine, stub_of(engine) as stub:
        call = stub.ExecuteStream()
        for number in range(10):
            await call.write(together(request(str(number), "hold")))
        await call.done_writing()
        await engine.executor.running_are(3)
        engine.executor.released.set()
        assert len(await answers(call)) == 10
        assert engine.executor.most_running == 3


@pytest.mark.parametrize("large", [{"limits": Limits(output_bytes=4 * MIB)}, {"stdin": bytes(6 * MIB)}])
async def test_what_may_be_large_takes_more_places_in_the_window(tmp_path, large):
    """So what a stream holds of the engine's memory has a bound, whatever its programs are and however slowly it is read."""
    async with fake_engine(tmp_path, stream_window=9) as engine, stub_of(engine) as stub:
        jobs = (Job(id=str(number), program="hold", **large) for number in range(6))
        call = stub.ExecuteStream(together(wire.request_from_job(job)) for job in jobs)
        await engine.executor.running_are(2)
        engine.executor.released.set()
        assert len(await answers(call)) == 6
        assert engine.executor.most_running == 2


async def test_a_message_may_hold_more_requests_than_the_window(tmp_path):
    """They start as others are answered."""
    async with fake_engine(tmp_path, stream_window=3) as engine, stub_of(engine) as stub:
        call = stub.ExecuteStream()
        await call.write(together(*(request(str(number), "hold") for number in range(10))))
        await call.done_writing()
        await engine.executor.running_are(3)
        engine.executor.released.set()
        assert {response.id for response in await answers(call)} == set("0123456789")
        assert engine.executor.most_running == 3


async def test_grouping_means_nothing(tmp_path):
    """Faulty and good requests in one message, and messages without any, are answered as they would be one by one."""
    async with fake_engine(tmp_path) as engine, stub_of(engine) as stub:
        call = stub.ExecuteStream()
        for message in (together(), together(request("a"), request("b", "crash")), together(), together(request("c"))):
            await call.write(message)
        await call.done_writing()
        codes = {response.id: response.rejected.code for response in await answers(call)}
    assert codes == {"a": 0, "b": 13, "c": 0}


MINUTE_MS = 60_000.0
PLENTY = 4 * DESCRIPTION.slots
"""As many programs under way leave no slot idle."""


@asynccontextmanager
async def stream_with(folder, running, gather_ms):
    """A stream on which so many programs run."""
    async with fake_engine(folder, stream_window=64, gather_ms=gather_ms) as engine, stub_of(engine) as stub:
        call = stub.ExecuteStream()
        await call.write(together(*(request(f"hold {number}", "hold") for number in range(running))))
        await engine.executor.running_are(running)
        yield engine, call


async def test_nothing_is_held_back_while_few_are_under_way(tmp_path):
    """A slot could be idle, or the client wait for just this one."""
    async with stream_with(tmp_path, PLENTY, MINUTE_MS) as (_, call):
        await call.write(together(request("a")))
        assert (await answer(call)).id == "a"


async def test_responses_are_gathered_while_many_are_under_way(tmp_path):
    """As many as a group holds go out in one message."""
    async with stream_with(tmp_path, PLENTY + 1, MINUTE_MS) as (_, call):
        names = [str(number) for number in range(GROUP_LENGTH)]
        await call.write(together(*map(request, names[:10])))
        await call.write(together(*map(request, names[10:])))
        assert [response.id for response in (await call.read()).responses] == names


async def test_a_response_is_not_held_back_for_long(tmp_path):
    """Also where no others follow."""
    async with stream_with(tmp_path, PLENTY + 1, 1) as (_, call):
        await call.write(together(request("a")))
        assert (await answer(call)).id == "a"


async def test_what_was_held_back_goes_out_when_few_are_left(tmp_path):
    """The time does not have to pass."""
    async with stream_with(tmp_path, PLENTY + 1, MINUTE_MS) as (engine, call):
        await call.write(together(request("a")))
        await call.done_writing()
        engine.executor.released.set()
        assert len(await answers(call)) == PLENTY + 2


async def test_a_large_response_goes_alone(tmp_path):
    """A group never grows beyond what a message may hold."""
    large = "echo: " + "x" * GROUP_BYTES
    async with stream_with(tmp_path, PLENTY + 1, MINUTE_MS) as (_, call):
        await call.write(together(request("a"), request("b"), request("c", large)))
        assert [response.id for response in (await call.read()).responses] == ["a", "b"]
        assert (await answer(call)).id == "c"


async def test_a_client_that_does_not_read_is_not_run_ahead_of(tmp_path):
    """A place in the window comes back only with a response that is written."""

    class Context:
        """A call whose one message is there and whose responses leave as the test lets them."""

        def __init__(self):
            self.incoming = [together(*(request(str(number)) for number in range(10)))]
            self.answered = []
            self.leaves = asyncio.Semaphore(0)

        async def read(self):
            return self.incoming.pop() if self.incoming else grpc.aio.EOF

        async def write(self, message):
            await self.leaves.acquire()
            self.answered += [response.id for response in message.responses]

    executor, context = FakeExecutor(), Context()
    service = ExecutionService(executor, DESCRIPTION, stream_window=3)
    service.open()
    call = asyncio.create_task(service.ExecuteStream(None, context))  # type: ignore[arg-type]  # as much of a context as is used
    for _ in range(100):
        await asyncio.sleep(0)  # everything that can run has run
    assert len(executor.jobs) == 3
    for _ in range(10):
        context.leaves.release()
    await call
    assert sorted(context.answered) == list("0123456789")


async def test_a_stream_whose_client_is_gone_ends_without_a_word(tmp_path):
    """As one that was cancelled: gRPC would write any error into the log, and clients may go at any time."""

    class Context:
        """A call whose one message is there, and whose responses have nowhere to go."""

        def __init__(self):
            self.incoming = [together(request("a"), request("b", "hold"))]

        async def read(self):
            return self.incoming.pop() if self.incoming else grpc.aio.EOF

        async def write(self, message):
            raise grpc.aio.InternalError("the connection is closed")

    executor = FakeExecutor()
    service = ExecutionService(executor, DESCRIPTION, stream_window=3)
    service.open()
    call = asyncio.create_task(service.ExecuteStream(None, Context()))  # type: ignore[arg-type]  # as above
    await asyncio.wait({call})
    assert call.cancelled()
    assert executor.cancelled == ["b"]


async def test_two_requests_with_one_id_end_the_stream(tmp_path):
    """Their answers could not be told apart."""
    async with fake_engine(tmp_path) as engine, stub_of(engine) as stub:
        call = stub.ExecuteStream()
        await call.write(together(request("a", "hold")))
        await call.write(together(request("a", "hold")))
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await call.read()
        assert failure.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        await engine.executor.running_are(0)


async def test_a_stream_ends_also_where_it_has_to_while_something_is_written(tmp_path):
    """The first of two that have no id is refused at once: its refusal is on the way when the second one is met."""
    async with fake_engine(tmp_path) as engine, stub_of(engine) as stub:
        call = stub.ExecuteStream(timeout=20)
        await call.write(together(pb.ExecuteRequest(), pb.ExecuteRequest()))
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await answers(call)
    assert failure.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_message_of_a_million_parts_is_refused_unread(tmp_path):
    """And does not keep the engine from answering others meanwhile."""
    parts = _within(5, _within(2, _within(1, b"") * 2_000_000))  # arguments of a test of function_tests
    async with fake_engine(tmp_path) as engine, grpc.aio.insecure_channel(engine.address) as channel, stub_of(engine) as stub:
        raw: Any = channel.unary_unary("/rrtf.execution.v1.Execution/Execute")
        refused = asyncio.ensure_future(raw(parts))
        while not refused.done():
            assert (await stub.Execute(request("a"))).report.verdict
        with pytest.raises(grpc.aio.AioRpcError, match="more than 2000000 fields"):
            await refused


async def test_two_requests_with_one_id_in_one_message_end_the_stream(tmp_path):
    """As in two messages."""
    async with fake_engine(tmp_path) as engine, stub_of(engine) as stub:
        call = stub.ExecuteStream()
        await call.write(together(request("a", "hold"), request("a", "hold")))
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await call.read()
        assert failure.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        await engine.executor.running_are(0)


async def test_an_id_may_be_used_again_once_it_is_answered(tmp_path):
    """Uniqueness is asked only among the requests under way."""
    async with fake_engine(tmp_path) as engine, stub_of(engine) as stub:
        call = stub.ExecuteStream()
        for _ in range(3):
            await call.write(together(request("a")))
            assert (await answer(call)).id == "a"


async def test_each_stream_is_a_client_of_its_own(tmp_path):
    """So that the executor can let them take turns."""
    async with fake_engine(tmp_path) as engine, stub_of(engine) as stub:
        for names in ("ab", "cd"):
            call = stub.ExecuteStream()
            await call.write(pb.ExecuteStreamRequest(requests=[request(name) for name in names]))
            await call.done_writing()
            assert len([answer async for answer in call]) > 0
    first, second, third, fourth = engine.executor.clients
    assert first == second != third == fourth


async def test_until_it_is_ready_it_is_not_serving(tmp_path):
    """It listens, says NOT_SERVING and refuses jobs with a delay, until its first program has run."""
    proven, asked = asyncio.Event(), asyncio.Event()

    async def ready(_):
        asked.set()
        await proven.wait()

    stop, address = Stop(), f"unix:{tmp_path}/engine.sock"
    announced = asyncio.Event()
    serving = serve(FakeExecutor(), DESCRIPTION, listen=address, stop=stop, announce=lambda _: announced.set(), ready=ready)
    task = asyncio.create_task(serving)
    await asked.wait()
    async with grpc.aio.insecure_channel(address) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        check = health_pb2.HealthCheckRequest(service="rrtf.execution.v1.Execution")
        assert (await health.Check(check)).status == health_pb2.HealthCheckResponse.NOT_SERVING
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await pb_grpc.ExecutionStub(channel).Execute(request("a"))
        assert failure.value.code() is grpc.StatusCode.UNAVAILABLE
        assert retry_after_ms(failure.value) > 0
        proven.set()
        await announced.wait()
        assert (await health.Check(check)).status == health_pb2.HealthCheckResponse.SERVING
        assert (await pb_grpc.ExecutionStub(channel).Execute(request("a"))).report.verdict
    stop.ask()
    await task


async def test_an_engine_that_cannot_prove_its_jail_does_not_serve(tmp_path):
    """The error of the proof comes out, and the socket is gone."""

    async def ready(_):
        raise JailUnavailable("no namespaces")

    with pytest.raises(JailUnavailable):
        async with fake_engine(tmp_path, ready=ready):
            pass
    assert list(tmp_path.iterdir()) == []


async def test_the_proof_is_a_program_that_ran():
    """An executor whose programs do not do what they say is not ready."""

    class Says:
        def __init__(self, report):
            self.report = report

        def admit(self, client):
            pass

        async def execute(self, job, client=""):
            return self.report

    await probe(Says(Report(id="x", verdict=Verdict.FINISHED, stdout=b"ready\n")))
    for report in (Report(id="x", verdict=Verdict.FINISHED), Report(id="x", verdict=Verdict.INFRASTRUCTURE_ERROR)):
        with pytest.raises(JailUnavailable, match="doctor"):
            await probe(Says(report))


async def test_large_requests_share_what_they_may_have_together():
    """What they hold comes back with their responses; small ones are taken all the same."""
    executor = FakeExecutor()
    service = ExecutionService(executor, DESCRIPTION, stream_window=3, large_together_bytes=3 * MIB)
    service.open()
    large, small = request("large", "hold " + "x" * 2 * MIB), request("small", "hold")
    running = asyncio.create_task(service.execute(service.accept(large, large.ByteSize(), "a"), large.ByteSize(), "a"))
    await executor.running_are(1)
    with pytest.raises(Busy):
        service.accept(large, large.ByteSize(), "b")
    assert service.accept(small, small.ByteSize(), "b").id == "small"
    executor.released.set()
    await running
    assert service.accept(large, large.ByteSize(), "b").id == "large"


class Call:
    """A call whose responses leave as the test lets them."""

    def __init__(self, *names, output_bytes=60_000):
        self.incoming = [together(*(request(name, "echo: " + "x" * output_bytes) for name in names))]
        self.kinds = []
        self.begins, self.leaves = asyncio.Event(), asyncio.Event()

    async def read(self):
        return self.incoming.pop() if self.incoming else grpc.aio.EOF

    async def write(self, message):
        self.kinds += [response.WhichOneof("outcome") for response in message.responses]
        self.begins.set()
        await self.leaves.wait()


async def test_outputs_that_nobody_has_taken_share_what_they_may_have_together():
    """Who would exceed it is told when to come back; what was taken makes room again, and so does what never will be."""
    service = ExecutionService(FakeExecutor(), DESCRIPTION, stream_window=3, gather_ms=0, unread_together_bytes=100_000)
    service.open()
    for end in (lambda call, context: context.leaves.set(), lambda call, context: call.cancel()):
        slow, quick = Call("a"), Call("b")
        call = asyncio.create_task(service.ExecuteStream(None, slow))  # type: ignore[arg-type]  # as much of a context as is used
        await slow.begins.wait()
        quick.leaves.set()
        await service.ExecuteStream(None, quick)  # type: ignore[arg-type]  # as above
        assert (slow.kinds, quick.kinds) == (["report"], ["rejected"])
        end(call, slow)
        await asyncio.wait({call})
        again = Call("c")
        again.leaves.set()
        await service.ExecuteStream(None, again)  # type: ignore[arg-type]  # as above
        assert again.kinds == ["report"]


async def test_outputs_that_wait_for_a_client_that_takes_nothing_make_room():
    """It is told to come back instead of those who lack the room."""
    room_bytes, output_bytes = GROUP_BYTES * 5 // 2, GROUP_BYTES
    service = ExecutionService(FakeExecutor(), DESCRIPTION, stream_window=9, unread_together_bytes=room_bytes, stalled_s=0)
    service.open()
    stalled, quick = (Call(*names, output_bytes=output_bytes) for names in ("ab", "c"))
    call = asyncio.create_task(service.ExecuteStream(None, stalled))  # type: ignore[arg-type]  # as above
    await stalled.begins.wait()
    quick.leaves.set()
    await service.ExecuteStream(None, quick)  # type: ignore[arg-type]  # as above
    stalled.leaves.set()
    await call
    assert (stalled.kinds, quick.kinds) == (["report", "rejected"], ["report"])


async def test_stopping_finishes_what_was_accepted_and_takes_nothing_new(tmp_path):
    """The first stage of stopping: drain."""
    async with fake_engine(tmp_path) as engine, stub_of(engine) as stub:
        call = stub.ExecuteStream()
        await call.write(together(request("before", "hold")))
        await engine.executor.running_are(1)
        engine.stop.ask()
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await stub.Execute(request("after"))
        assert failure.value.code() is grpc.StatusCode.UNAVAILABLE
        assert retry_after_ms(failure.value) > 0
        engine.executor.released.set()
        assert (await answer(call)).id == "before"
        with pytest.raises(grpc.aio.AioRpcError) as end:
            await call.read()
        assert end.value.code() is grpc.StatusCode.UNAVAILABLE
        await engine.task
        assert engine.executor.cancelled == []


async def test_stopping_twice_ends_what_is_under_way(tmp_path):
    """The second stage of stopping: cancel."""
    async with fake_engine(tmp_path) as engine, stub_of(engine) as stub:
        call = stub.Execute(request("a", "hold"))
        running = asyncio.create_task(engine.executor.running_are(1))
        await running
        engine.stop.ask()
        engine.stop.ask()
        await engine.task
        assert engine.executor.cancelled == ["a"]
        with pytest.raises((grpc.aio.AioRpcError, asyncio.CancelledError)):
            await call


async def test_a_drain_has_an_end(tmp_path):
    """A program that does not finish in time is cancelled."""
    async with fake_engine(tmp_path, drain_time_ms=1) as engine, stub_of(engine) as stub:
        call = stub.ExecuteStream()
        await call.write(together(request("a", "hold")))
        await engine.executor.running_are(1)
        engine.stop.ask()
        await engine.task
        assert engine.executor.cancelled == ["a"]


async def test_the_end_of_a_pipe_stops_the_engine():
    """An engine that was started for a process goes with it."""
    ours, theirs = socket.socketpair()
    stop = Stop()
    stop.when_readable(ours.fileno())
    theirs.close()
    await stop.drain.wait()
    ours.close()


async def refused(listen):
    with pytest.raises(CannotListen) as refusal:
        await serve(FakeExecutor(), DESCRIPTION, listen=listen, stop=Stop(), announce=lambda _: None, ready=nothing_to_prove)
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


async def test_an_address_in_use_is_refused(tmp_path):
    """Neither a port nor a socket is taken from whoever serves it."""
    async with fake_engine(tmp_path) as engine, stub_of(engine) as stub:
        assert "address already in use" in await refused(engine.address)
        assert (await stub.Execute(request("a"))).id == "a"
    with socket.create_server(("localhost", 0)) as taken:
        assert "address already in use" in await refused(f"localhost:{taken.getsockname()[1]}")


@pytest.mark.parametrize(
    ("listen", "message"),
    [
        ("nonsense", "neither host:port"),
        ("localhost:99999", "neither host:port"),
        ("unix:", "no path"),
        ("unix:" + "x" * 200, "longer than the 107 bytes"),
        ("unix:/nowhere/engine.sock", "no such file or directory"),
    ],
)
async def test_an_address_that_cannot_be_had_is_refused(listen, message):
    """One line that says why."""
    assert message in await refused(listen)


async def test_a_file_in_the_way_is_not_removed(tmp_path):
    """Only a socket that nobody serves is cleared away."""
    path = tmp_path / "precious"
    path.write_text("x")
    assert "no socket" in await refused(f"unix:{path}")
    assert path.read_text() == "x"


async def test_a_socket_left_over_from_a_killed_engine_is_taken(tmp_path):
    """Starting again after SIGKILL needs no cleaning by hand."""
    path = tmp_path / "engine.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    async with fake_engine(tmp_path) as engine, stub_of(engine) as stub:
        assert (await stub.Execute(request("a"))).id == "a"
    assert not path.exists()


async def test_port_zero_is_announced_as_the_port_it_became():
    """Whoever started the engine learns where it listens."""
    stop = Stop()
    announced: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    serving = serve(
        FakeExecutor(), DESCRIPTION, listen="localhost:0", stop=stop, announce=announced.set_result, ready=nothing_to_prove
    )
    task = asyncio.create_task(serving)
    host, _, port = (await announced).rpartition(":")
    assert host == "localhost"
    assert int(port) > 0
    stop.ask()
    await task


async def test_a_message_that_cannot_be_read_does_not_harm_the_engine(tmp_path):
    """Data nested deeper than protobuf's parser goes fails that call and no other."""
    message = b""
    for field in (*(1, 8) * 100, 3, 2, 5):  # items of a list of items ..., expected, tests, function_tests
        message = _within(field, message)
    async with fake_engine(tmp_path) as engine, grpc.aio.insecure_channel(engine.address) as channel, stub_of(engine) as stub:
        raw: Any = channel.unary_unary("/rrtf.execution.v1.Execution/Execute")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await raw(message)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        stream: Any = channel.stream_stream("/rrtf.execution.v1.Execution/ExecuteStream")()
        await stream.write(_within(1, message))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stream.read()
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert (await stub.Execute(request("a"))).id == "a"


def _within(field, message):
    return bytes([field << 3 | 2]) + _varint(len(message)) + message


def _varint(number):
    low, high = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + _varint(high) if high else bytes([low])
