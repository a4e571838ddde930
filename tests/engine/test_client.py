"""The clients give every job's report or one clear error. What is said of one client is tested on both."""

import asyncio
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from contextlib import aclosing, asynccontextmanager, contextmanager

import pytest

from engine import client as public
from engine import records
from engine.client import (
    AsyncClient,
    BadJob,
    Busy,
    Client,
    ConnectionFailed,
    EngineError,
    EngineFault,
    EngineGone,
    Job,
    LocalEngine,
    StartFailed,
    Unavailable,
    Verdict,
)
from engine.client.connection import Connection
from engine.client.stream import JobStream
from tests.engine.fakes import DESCRIPTION, fake_engine

FAKE = (sys.executable, "-m", "tests.engine.fake_main")


class Both:
    """Drives either client from a coroutine; the synchronous one in a thread of its own."""

    def __init__(self, client):
        self.client = client

    async def execute(self, job):
        if isinstance(self.client, AsyncClient):
            return await self.client.execute(job)
        return await asyncio.to_thread(self.client.execute, job)

    async def stream(self, jobs, **options):
        if isinstance(self.client, AsyncClient):
            return [report async for report in self.client.execute_stream(jobs, **options)]
        return await asyncio.to_thread(lambda: list(self.client.execute_stream(jobs, **options)))

    async def describe(self):
        if isinstance(self.client, AsyncClient):
            return await self.client.describe()
        return await asyncio.to_thread(self.client.describe)

    async def wait_ready(self, timeout_ms):
        if isinstance(self.client, AsyncClient):
            return await self.client.wait_ready(timeout_ms)
        return await asyncio.to_thread(self.client.wait_ready, timeout_ms)


@pytest.fixture(params=[AsyncClient, Client], ids=["async", "sync"])
def both(request):
    @asynccontextmanager
    async def connect(address, **options):
        client = request.param(address, **options)
        if isinstance(client, AsyncClient):
            async with client:
                yield Both(client)
        else:
            yield Both(client)
            await asyncio.to_thread(client.close)

    return connect


@contextmanager
def nobody():
    """A port that nobody listens on."""
    with socket.socket() as reserved:
        reserved.bind(("localhost", 0))
        yield f"localhost:{reserved.getsockname()[1]}"


def jobs_named(names, program="pass"):
    return [Job(id=str(name), program=program) for name in names]


async def test_a_job_gets_its_report(tmp_path, both):
    """The report carries the job's id."""
    async with fake_engine(tmp_path) as engine, both(engine.address) as client:
        report = await client.execute(Job(id="a", program="echo: hello"))
    assert (report.id, report.verdict, report.stdout) == ("a", Verdict.FINISHED, b"hello")


async def test_an_engine_describes_itself(tmp_path, both):
    """Languages, limits and slots come as records."""
    async with fake_engine(tmp_path) as engine, both(engine.address) as client:
        assert await client.describe() == DESCRIPTION


async def test_a_stream_gives_every_job_exactly_one_report(tmp_path, both):
    """Also with jobs that the engine was too busy for, and more jobs than fit any window."""
    jobs = [Job(id=str(number), program="busy 2" if number % 7 == 0 else "pass") for number in range(300)]
    async with fake_engine(tmp_path) as engine, both(engine.address) as client:
        reports = await client.stream(jobs, window=16)
    assert sorted(int(report.id) for report in reports) == list(range(300))


async def test_a_stream_without_jobs_ends(tmp_path, both):
    """No jobs, no reports."""
    async with fake_engine(tmp_path) as engine, both(engine.address) as client:
        assert await client.stream([]) == []


async def test_jobs_are_taken_as_there_is_room(tmp_path, both):
    """No more than a window of jobs is taken before reports are consumed."""
    taken = []

    def jobs():
        for job in jobs_named(range(100), "hold"):
            taken.append(job.id)
            yield job

    async with fake_engine(tmp_path) as engine, both(engine.address) as client:
        streaming = asyncio.create_task(client.stream(jobs(), window=5))
        await engine.executor.running_are(5)
        assert len(taken) <= 6
        engine.executor.released.set()
        assert len(await streaming) == 100
        assert engine.executor.most_running == 5


class ScriptedCall:
    """A call whose messages leave one by one, as the test lets them, and that nobody answers."""

    def __init__(self):
        self.written: asyncio.Queue[list[str]] = asyncio.Queue()
        self.leaves = asyncio.Semaphore(0)

    async def write(self, message):
        self.written.put_nowait([request.id for request in message.requests])
        await self.leaves.acquire()

    async def read(self):
        await asyncio.Event().wait()

    def cancel(self):
        pass


@asynccontextmanager
async def scripted_stream(folder, call):
    """A stream over the call that holds jobs back for a minute where it holds them back."""
    stream = JobStream(Connection(f"unix:{folder}/nobody"), call, lambda _: None, gather_ms=60_000)
    yield stream
    await stream.close()


async def test_jobs_that_gathered_are_sent_together(tmp_path):
    """What came while a message was on its way goes into the next one."""
    call = ScriptedCall()
    async with scripted_stream(tmp_path, call) as stream:
        first, *rest = [stream.request(job) for job in jobs_named(range(40))]
        stream.send(first)
        assert await call.written.get() == ["0"]
        for request in rest:
            stream.send(request)
        call.leaves.release()
        assert await call.written.get() == [str(number) for number in range(1, 33)]
        call.leaves.release()
        assert await call.written.get() == [str(number) for number in range(33, 40)]


async def test_jobs_are_held_back_only_while_the_engine_has_plenty(tmp_path):
    """Then they fill a message, and the last ones do not wait for more."""
    call = ScriptedCall()
    async with scripted_stream(tmp_path, call) as stream:
        requests = [stream.request(job) for job in jobs_named(range(110))]
        for _ in range(100):
            call.leaves.release()
        for request in requests[:65]:
            stream.send(request)
            assert await call.written.get() == [request.id]
        for request in requests[65:]:
            stream.send(request)
            await asyncio.sleep(0)
        assert await call.written.get() == [str(number) for number in range(65, 97)]
        assert call.written.empty()
        stream.finish()
        assert await call.written.get() == [str(number) for number in range(97, 110)]


async def test_the_synchronous_client_takes_no_job_before_there_is_room(tmp_path):
    """And takes them in the caller's thread, between the reports that it yields."""
    events, threads = [], set()

    def jobs():
        for job in jobs_named(range(20)):
            threads.add(threading.get_ident())
            events.append("job")
            yield job

    def consume(window):
        events.clear()
        threads.clear()
        with Client(engine.address) as client:
            for _ in client.execute_stream(jobs(), window=window):
                events.append("report")
        return threading.get_ident()

    async with fake_engine(tmp_path) as engine:
        assert {await asyncio.to_thread(consume, 3)} == threads
        ahead = [events[:end].count("job") - events[:end].count("report") for end in range(1, len(events) + 1)]
        assert max(ahead) <= 3
        await asyncio.to_thread(consume, 1)
        assert events == ["job", "report"] * 20


def test_an_interrupt_ends_a_synchronous_stream():
    """Ctrl-C reaches a caller that waits for reports, and leaves the client usable."""
    taken = threading.Event()

    def jobs():
        yield Job(id="a", program="hold")
        taken.set()

    def interrupt():
        taken.wait()
        os.kill(os.getpid(), signal.SIGINT)

    with LocalEngine(command=FAKE) as engine, Client(engine.address) as client:
        interrupter = threading.Thread(target=interrupt)
        interrupter.start()
        with pytest.raises(KeyboardInterrupt):
            list(client.execute_stream(jobs()))
        interrupter.join()
        assert client.execute(Job(id="a", program="pass")).verdict is Verdict.PASSED


async def test_closing_a_client_ends_its_streams(tmp_path):
    """Whoever waits for a report is told."""
    async with fake_engine(tmp_path) as engine, AsyncClient(engine.address) as client:
        reports = client.execute_stream(jobs_named("a", "hold"))
        waiting = asyncio.ensure_future(anext(reports))
        await engine.executor.running_are(1)
        await client.close()
        with pytest.raises(EngineError, match="closed after 0 of 1 reports"):
            await waiting


async def test_a_job_used_twice_is_refused(tmp_path, both):
    """Reports of one id could not be told apart."""
    async with fake_engine(tmp_path) as engine, both(engine.address) as client:
        with pytest.raises(BadJob, match="two jobs of the stream have the id 'a'"):
            await client.stream(jobs_named("aa"))


async def test_a_bad_job_of_a_stream_is_named_and_ends_what_is_under_way(tmp_path, both):
    """Whether the engine refuses it or it cannot even be sent."""
    async with fake_engine(tmp_path) as engine, both(engine.address) as client:
        for bad in (Job(id="bad", program="", language="cobol"), Job(id="bad", program="x" * (64 * 2**20 + 1))):
            with pytest.raises(BadJob, match="job 'bad'"):
                await client.stream([*jobs_named("a", "hold"), bad])
            await engine.executor.running_are(0)


async def test_a_stream_goes_on_where_somebody_is_told_of_bad_jobs(tmp_path, both):
    """Once of each, by its id."""
    bad = [Job(id="alien", program="", language="cobol"), Job(id="huge", program="x" * (64 * 2**20 + 1))]
    told = []
    async with fake_engine(tmp_path) as engine, both(engine.address) as client:
        mixed = [*bad, *jobs_named("abc")]
        reports = await client.stream(mixed, window=1, on_bad_job=lambda *rejected: told.append(rejected))
    assert sorted(report.id for report in reports) == ["a", "b", "c"]
    assert sorted(job_id for job_id, _ in told) == ["alien", "huge"]
    assert all(job_id in str(error) for job_id, error in told)


async def test_an_error_of_the_jobs_themselves_comes_out(tmp_path, both):
    """What the caller's generator raises reaches the caller."""

    def jobs():
        yield Job(id="a", program="pass")
        raise LookupError("mine")

    async with fake_engine(tmp_path) as engine, both(engine.address) as client:
        with pytest.raises(LookupError, match="mine"):
            await client.stream(jobs())


async def test_leaving_a_stream_early_ends_its_programs(tmp_path):
    """Of the asynchronous client: closing the iteration cancels."""
    async with fake_engine(tmp_path) as engine, AsyncClient(engine.address) as client:
        async with aclosing(client.execute_stream([*jobs_named("a"), *jobs_named("bc", "hold")])) as reports:
            assert (await anext(reports)).id == "a"
            await engine.executor.running_are(2)
        await engine.executor.running_are(0)


async def test_leaving_a_synchronous_stream_early_ends_its_programs(tmp_path):
    """The same of the synchronous client."""
    async with fake_engine(tmp_path) as engine:

        def first():
            with Client(engine.address) as client:
                reports = client.execute_stream([*jobs_named("a"), *jobs_named("bc", "hold")])
                report = next(reports)
                reports.close()
                return report

        assert (await asyncio.to_thread(first)).id == "a"
        await engine.executor.running_are(0)


async def test_cancelling_a_call_ends_its_program(tmp_path):
    """A caller that gives up does not leave its program running."""
    async with fake_engine(tmp_path) as engine, AsyncClient(engine.address) as client:
        call = asyncio.create_task(client.execute(Job(id="a", program="hold")))
        await engine.executor.running_are(1)
        call.cancel()
        await engine.executor.running_are(0)
        with pytest.raises(asyncio.CancelledError):
            await call


async def test_jobs_may_come_as_they_are_made(tmp_path):
    """An asynchronous source is not waited for when there are reports to give."""
    async with fake_engine(tmp_path) as engine, AsyncClient(engine.address) as client:
        seen = asyncio.Event()

        async def jobs():
            yield Job(id="a", program="pass")
            await seen.wait()
            yield Job(id="b", program="pass")

        names = []
        async for report in client.execute_stream(jobs()):
            names.append(report.id)
            seen.set()
    assert names == ["a", "b"]


async def test_a_busy_engine_is_asked_again(tmp_path, both):
    """After the delay that it asked for."""
    async with fake_engine(tmp_path) as engine, both(engine.address) as client:
        assert (await client.execute(Job(id="a", program="busy 3"))).verdict is Verdict.PASSED


async def test_a_busy_engine_is_not_asked_for_ever(tmp_path, both):
    """When the time for retries is over the refusal comes out."""
    async with fake_engine(tmp_path) as engine, both(engine.address, retry_time_ms=0) as client:
        with pytest.raises(Busy):
            await client.execute(Job(id="a", program="busy 3"))


async def test_a_bad_job_is_refused_with_the_reason(tmp_path, both):
    """The engine's line reaches the caller as it is."""
    async with fake_engine(tmp_path) as engine, both(engine.address) as client:
        with pytest.raises(BadJob, match="unknown language 'cobol'; this engine runs python"):
            await client.execute(Job(id="a", program="", language="cobol"))


async def test_a_fault_of_the_engine_is_not_taken_for_a_verdict(tmp_path, both):
    """Alone or in a stream."""
    async with fake_engine(tmp_path) as engine, both(engine.address) as client:
        with pytest.raises(EngineFault):
            await client.execute(Job(id="a", program="crash"))
        with pytest.raises(EngineFault, match="job 'a'"):
            await client.stream(jobs_named("a", "crash"))


@pytest.mark.parametrize("ask", ["execute", "stream", "describe", "wait_ready"])
async def test_nobody_there_is_said_with_the_cure(both, ask):
    """One line with the address and the command that starts an engine."""
    arguments = {"execute": (Job(id="a", program=""),), "stream": (jobs_named("a"),), "describe": (), "wait_ready": (1,)}
    with nobody() as address:
        async with both(address) as client:
            with pytest.raises(ConnectionFailed) as failure:
                await getattr(client, ask)(*arguments[ask])
    assert str(failure.value) == f"no engine answers at {address}; start one with: python -m engine serve --listen {address}"


def test_an_address_that_is_none_is_refused_at_once():
    """Before anything is connected."""
    for make in (AsyncClient, Client):
        with pytest.raises(ConnectionFailed, match="neither host:port"):
            make("nonsense")


async def test_a_draining_engine_answers_what_it_accepted(tmp_path):
    """The reports come, then the error that says why there are no more."""
    async with fake_engine(tmp_path) as engine, AsyncClient(engine.address) as client:
        last = asyncio.Event()

        async def jobs():
            yield Job(id="a", program="hold")
            await last.wait()

        reports = client.execute_stream(jobs())
        first = asyncio.ensure_future(anext(reports))
        await engine.executor.running_are(1)
        engine.stop.ask()
        engine.executor.released.set()
        assert (await first).id == "a"
        with pytest.raises(Unavailable):
            await anext(reports)


async def test_waiting_until_ready(tmp_path, both):
    """Returns once jobs are accepted."""
    async with fake_engine(tmp_path) as engine, both(engine.address) as client:
        await client.wait_ready(60_000)


def test_an_engine_that_is_killed_is_told_apart_from_none():
    """The message says how many reports came, and the ones that came are not lost."""
    jobs = [*jobs_named(range(3)), *jobs_named(range(3, 5), "hold")]
    with LocalEngine(command=FAKE) as engine, Client(engine.address) as client:
        reports = client.execute_stream(jobs)
        names = {next(reports).id for _ in range(3)}
        assert names == {"0", "1", "2"}
        assert engine.pid is not None
        os.kill(engine.pid, signal.SIGKILL)
        with pytest.raises(EngineGone, match=r"went away after 3 of [3-5] reports: .*send again what has no report"):
            next(reports)
        with pytest.raises((ConnectionFailed, EngineGone)):
            client.execute(Job(id="a", program="pass"))


def test_a_synchronous_client_works_inside_an_event_loop():
    """Its own loop is in a thread of its own, so notebooks can use it."""

    async def main(client):
        return client.execute(Job(id="a", program="pass")).verdict

    with LocalEngine(command=FAKE) as engine, Client(engine.address) as client:
        assert asyncio.run(main(client)) is Verdict.PASSED


def test_one_synchronous_client_serves_many_threads():
    """Calls from several threads do not disturb one another."""
    with LocalEngine(command=FAKE) as engine, Client(engine.address) as client:
        verdicts = []

        def work(name):
            verdicts.append(client.execute(Job(id=name, program="pass")).verdict)

        threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert verdicts == [Verdict.PASSED] * 4


def test_a_local_engine_leaves_nothing_behind():
    """Neither process nor folder nor socket; and its address is known only while it lives."""
    with LocalEngine(command=FAKE) as engine:
        path, pid = engine.address.removeprefix("unix:"), engine.pid
        assert os.path.exists(path)  # noqa: PTH110  # a path in a string
    assert not os.path.exists(os.path.dirname(path))  # noqa: PTH110, PTH120  # a path in a string
    assert pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(EngineError, match="only inside"):
        _ = engine.address


def test_a_local_engine_that_dies_at_its_start_says_what_it_said():
    """The message ends with the engine's own last words."""
    with pytest.raises(StartFailed, match=r"status 1.*\n?.*no namespaces; mend them"), LocalEngine(command=FAKE, config="die"):
        pass


def test_the_last_words_of_a_local_engine_are_noted():
    """An error that says the engine failed carries what it wrote."""

    def execute():
        with LocalEngine(command=FAKE) as engine, Client(engine.address) as client:
            client.execute(Job(id="a", program="crash"))

    with pytest.raises(EngineFault) as failure:
        execute()
    assert "a secret of the engine" in failure.value.__notes__[0]


def test_a_local_engine_that_does_not_get_ready_is_given_up():
    """Within the time it was given."""
    silent = (sys.executable, "-c", "import sys; sys.stdin.read()", "--")
    with pytest.raises(StartFailed, match="not ready after 1 ms"), LocalEngine(command=silent, start_timeout_ms=1):
        pass


@pytest.fixture
def caller(tmp_path):
    """Starts a process with an engine of its own, which it keeps until its stdin ends; gives both."""
    program = (
        "import sys\n"
        "from engine.client import LocalEngine\n"
        f"with LocalEngine(command={FAKE!r}) as engine:\n"
        "    print(engine.pid, flush=True)\n"
        "    sys.stdin.read()\n"
    )

    @contextmanager
    def start():
        environment = os.environ | {"TMPDIR": str(tmp_path)}
        command = [sys.executable, "-c", program]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
            assert process.stdout is not None
            engine = os.pidfd_open(int(process.stdout.readline()))
            yield process, engine
        os.close(engine)

    return start


def ends(process):
    """Whether what a descriptor stands for ends."""
    ended, _, _ = select.select([process], [], [], 60)
    return bool(ended)


def test_a_local_engine_goes_with_its_parent(caller):
    """A caller that is killed takes its engine along."""
    with caller() as (parent, engine):
        parent.kill()
        assert ends(engine)


def test_what_a_killed_caller_leaves_goes_when_the_next_one_starts(caller, tmp_path):
    """And no folder goes that is in use."""
    with caller():
        [in_use] = tmp_path.iterdir()
        with caller() as (killed, engine):
            [abandoned] = set(tmp_path.iterdir()) - {in_use}
            killed.kill()
            assert ends(engine)
        assert abandoned.exists()
        with caller():
            assert (in_use.exists(), abandoned.exists()) == (True, False)
    assert list(tmp_path.iterdir()) == []


def test_everything_a_caller_needs_is_in_one_place():
    """engine.client exports all records, and all names it promises exist."""
    names = {name for name, value in vars(records).items() if getattr(value, "__module__", None) == "engine.records"}
    assert names <= set(public.__all__)
    assert all(hasattr(public, name) for name in public.__all__)
