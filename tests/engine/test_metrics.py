"""What Prometheus reads of an engine, over a real socket."""

import contextlib
import socket
import threading
import urllib.request
from dataclasses import dataclass, replace

import grpc
import pytest

from engine.errors import CannotListen
from engine.metrics import told
from engine.pool import Counts
from engine.records import Job, Report, Verdict
from engine.wire import request_from_job
from protos.execution.v1 import execution_pb2 as pb
from protos.execution.v1 import execution_pb2_grpc as pb_grpc
from tests.engine.fakes import fake_engine


@dataclass
class Pool:
    """As much of one as is asked."""

    counts: Counts
    slots: int = 1
    running: int = 0
    waiting: int = 0


@pytest.fixture
def address():
    """One that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return f"localhost:{probe.getsockname()[1]}"


def read(address):
    """Names and values."""
    with urllib.request.urlopen(f"http://{address}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if not line.startswith("#"))}


OF_REQUESTS = ("rrtf_reports_", "rrtf_refusals_", "rrtf_queue_time_", "rrtf_wall_time_")
ORDERS = ("pass", "pass", "echo: hello", "busy 1", "bad luck", "crash")
"""Programs of the fake executor, and what they count as."""
COUNTED = {
    'rrtf_reports_total{verdict="passed"}': 2,
    'rrtf_reports_total{verdict="finished"}': 1,
    'rrtf_refusals_total{code="RESOURCE_EXHAUSTED"}': 1,
    'rrtf_refusals_total{code="INVALID_ARGUMENT"}': 1,
    'rrtf_refusals_total{code="INTERNAL"}': 1,
}
REPORT = Report(id="a", verdict=Verdict.PASSED, queue_time_ms=40, wall_time_ms=2_000)


def counted(found):
    """What went out so far."""
    return {name: value for name, value in found.items() if name.startswith(("rrtf_reports_", "rrtf_refusals_")) and value}


def requests():
    return [request_from_job(Job(id=f"{index}", program=order)) for index, order in enumerate(ORDERS)]


@contextlib.asynccontextmanager
async def stub_of(engine):
    async with grpc.aio.insecure_channel(engine.address) as channel:
        yield pb_grpc.ExecutionStub(channel)


def test_every_look_is_at_the_pool_as_it_is(address):
    """Each count of the pool under its name, slots and line besides, and nothing else of it."""
    pool = Pool(Counts(broken_slots=1), slots=2, running=1, waiting=3)
    with told(pool, address):
        found = read(address)
        assert {name: found[name] for name in found if not name.startswith(OF_REQUESTS)} == {
            "rrtf_slots": 2,
            "rrtf_running_programs": 1,
            "rrtf_waiting_programs": 3,
            "rrtf_broken_slots_total": 1,
            "rrtf_failed_starts_total": 0,
            "rrtf_second_runs_total": 0,
            "rrtf_infrastructure_errors_total": 0,
        }
        pool.counts.broken_slots = 5
        assert read(address)["rrtf_broken_slots_total"] == 5


async def test_calls_count_by_verdict_or_by_status(tmp_path, address):
    """Each once; no series is there that was not there before, whatever clients say."""
    with told(Pool(Counts()), address) as observer:
        before = read(address)
        async with fake_engine(tmp_path, observer=observer) as engine, stub_of(engine) as stub:
            for request in requests():
                with contextlib.suppress(grpc.aio.AioRpcError):
                    await stub.Execute(request)
            after = read(address)
    assert counted(before) == {}
    assert counted(after) == COUNTED
    assert set(after) == set(before)


async def test_programs_of_a_stream_count_as_calls_do(tmp_path, address):
    """Each once, though none of their refusals ends the call."""
    with told(Pool(Counts()), address) as observer:
        async with fake_engine(tmp_path, observer=observer) as engine, stub_of(engine) as stub:
            call = stub.ExecuteStream(iter([pb.ExecuteStreamRequest(requests=requests())]))
            assert len([response async for message in call for response in message.responses]) == len(ORDERS)
            assert counted(read(address)) == COUNTED


async def test_a_stream_that_a_drain_ends_counts_as_unavailable(tmp_path, address):
    """Once, beside the report of what was under way in it."""
    with told(Pool(Counts()), address) as observer:
        async with fake_engine(tmp_path, observer=observer) as engine, stub_of(engine) as stub:
            call = stub.ExecuteStream()
            await call.write(pb.ExecuteStreamRequest(requests=[request_from_job(Job(id="a", program="hold"))]))
            await engine.executor.running_are(1)
            engine.stop.ask()
            engine.executor.released.set()
            assert await call.read() is not grpc.aio.EOF
            assert await call.code() is grpc.StatusCode.UNAVAILABLE
        assert counted(read(address)) == {
            'rrtf_reports_total{verdict="passed"}': 1,
            'rrtf_refusals_total{code="UNAVAILABLE"}': 1,
        }


def test_times_are_told_in_seconds(address):
    """By the next bucket above them, those of 1 ms and of 10 min included."""
    with told(Pool(Counts()), address) as observer:
        observer.reported(REPORT)
        observer.reported(replace(REPORT, queue_time_ms=1, wall_time_ms=600_000))
        found = read(address)
    assert found["rrtf_queue_time_seconds_sum"] == pytest.approx(0.041)
    assert found["rrtf_wall_time_seconds_sum"] == pytest.approx(602)
    assert [found[f'rrtf_queue_time_seconds_bucket{{le="{s}"}}'] for s in ("0.001", "0.025", "0.05")] == [1, 1, 2]
    assert [found[f'rrtf_wall_time_seconds_bucket{{le="{s}"}}'] for s in ("1.0", "2.5", "300.0", "600.0")] == [0, 1, 1, 2]


@pytest.mark.parametrize(
    ("report", "waited", "ran"),
    [
        (replace(REPORT, deduplicated=True), 0, 0),
        (replace(REPORT, verdict=Verdict.INFRASTRUCTURE_ERROR, wall_time_ms=0.0), 1, 0),
    ],
)
def test_only_times_of_programs_that_waited_or_ran_are_told(address, report, waited, ran):
    """A deduplicated report repeats the times of another one; a program that found no slot has waited and not run."""
    with told(Pool(Counts()), address) as observer:
        observer.reported(report)
        found = read(address)
    assert found["rrtf_queue_time_seconds_count"] == waited
    assert found["rrtf_wall_time_seconds_count"] == ran
    assert found[f'rrtf_reports_total{{verdict="{report.verdict.value}"}}'] == 1


def test_the_address_is_free_again_afterwards(address):
    for _ in range(2):
        with told(Pool(Counts()), address):
            assert read(address)["rrtf_slots"] == 1


def test_who_connects_and_says_nothing_takes_little(address):
    """No more than a few threads, and none of them for long: all connections are closed by the engine."""
    with told(Pool(Counts()), address), contextlib.ExitStack() as silent:
        before = threading.active_count()
        host, _, port = address.rpartition(":")
        connections = [silent.enter_context(socket.create_connection((host, int(port)))) for _ in range(50)]
        assert connections[-1].recv(1) == b""  # all others have been looked at before
        assert threading.active_count() <= before + 8
        assert {connection.recv(1) for connection in connections} == {b""}


def test_who_speaks_slowly_is_not_listened_to_for_long(address):
    """One letter at a time, each in time."""
    with told(Pool(Counts()), address):
        host, _, port = address.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=0.2) as slow:
            said = 0
            with contextlib.suppress(OSError):
                while said < 300:
                    said += slow.send(b"G")
                    with contextlib.suppress(TimeoutError):
                        assert not slow.recv(1)
                        break
            assert 5 <= said < 300


@pytest.mark.parametrize("listen", ["unix:/tmp/metrics", "nowhere", "host.invalid:1"])
def test_an_address_that_cannot_be_had_is_refused(listen):
    """One line that says why and which setting it is."""
    with pytest.raises(CannotListen, match="metrics"), told(Pool(Counts()), listen):
        pass
