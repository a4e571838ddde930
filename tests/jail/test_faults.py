"""What goes wrong around programs, made to go wrong for real: the engine survives it, and answers.

Everything here is an engine of its own behind its socket. `LocalEngine` starts it, through a command of the test's where the
fault lies in what the engine starts with.
"""

import asyncio
import os
import resource
import select
import signal
import socket
import sys
import time
from pathlib import Path

import grpc
import pytest

from engine import wire
from engine.bench.processes import children_of
from engine.client import AsyncClient, Job, Limits, LocalEngine, StartFailed, Verdict
from engine.jail.cgroups import PREFIX, find_hierarchy
from engine.records import MIB
from protos.execution.v1 import execution_pb2 as pb
from protos.execution.v1 import execution_pb2_grpc as pb_grpc
from tests.jail.conftest import LIMITS, examined
from tests.jail.processes import alive, cells_of, jails_of, named, until, zygotes_of

pytestmark = pytest.mark.jail

SLEEPS = "import time\ntime.sleep({})\nprint('done')"
EXAMINED = examined("answer = f()\nassert answer == 1", "f")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make this fault")
with_cgroups = pytest.mark.skipif(isinstance(find_hierarchy(), str), reason="there are no cgroups")


@pytest.fixture
def engine():
    with LocalEngine(slots=2) as started:
        yield started


@pytest.fixture
async def client(engine):
    async with AsyncClient(engine.address) as connected:
        yield connected


def script(program, **job):
    return Job(**{"id": program[:40], "program": program, "limits": LIMITS} | job)


async def is_healthy(client, programs=4):
    """As many programs as there are slots and more, at once, all of them right."""
    jobs = [script("print('well')", id=f"healthy {n}") for n in range(programs)]
    reports = await asyncio.gather(*map(client.execute, jobs))
    return [(report.verdict, report.stdout) for report in reports] == [(Verdict.FINISHED, b"well\n")] * programs


# Processes that are killed


def kill(pid):
    os.kill(pid, signal.SIGKILL)


VICTIMS = {
    "a zygote": zygotes_of,
    "an nsjail": jails_of,
    "an examiner": lambda engine: cells_of(engine)[1:],
}


@pytest.mark.parametrize("victim", VICTIMS)
async def test_a_part_of_a_slot_that_is_killed_costs_no_program_its_verdict(engine, client, victim):
    """In the middle of a conversation. The program runs once more in the other slot, and nothing of the broken one is left."""
    running = asyncio.create_task(
        client.execute(script("def f():\n    import time\n    time.sleep(0.3)\n    return 1", tests=EXAMINED))
    )
    cells = await until(lambda: found if len(found := cells_of(engine)) == 2 else None)
    slot = next([jail, *children_of(jail)] for jail in jails_of(engine) if children_of(children_of(jail)[0]) == cells)
    kill(next(pid for pid in VICTIMS[victim](engine) if pid in (*slot, *cells)))
    assert (await running).verdict is Verdict.PASSED
    assert await is_healthy(client)
    await until(lambda: not any(map(alive, [*slot, *cells])))
    await until(lambda: len(zygotes_of(engine)) == 2)


async def test_slots_that_are_killed_while_they_wait_are_replaced_before_a_program_meets_them(engine, client):
    """All of them: a second run in another dead slot would be no help."""
    zygotes = zygotes_of(engine)
    for zygote in zygotes:
        kill(zygote)
    await until(lambda: not any(map(alive, zygotes)))
    assert await is_healthy(client)
    await until(lambda: len(zygotes_of(engine)) == 2)


async def test_a_program_whose_slots_are_all_killed_is_the_infrastructures_failure(engine, client):
    """It is run twice, not more, and the report says that it says nothing of the program."""
    running = asyncio.create_task(client.execute(script(SLEEPS.format(5))))
    seen = set()
    for _ in range(2):
        [cell] = await until(lambda: [cell for cell in cells_of(engine) if cell not in seen])
        seen.add(cell)
        kill(next(zygote for zygote in zygotes_of(engine) if cell in children_of(zygote)))
    report = await running
    assert (report.verdict, report.cause.kind.value) == (Verdict.INFRASTRUCTURE_ERROR, "infrastructure")
    assert await is_healthy(client)


LOSES_A_CHILD = """
import os, time
if not os.fork():
    data = bytearray(1 << 30)
os.wait()
time.sleep(60)
"""


@with_cgroups
@pytest.mark.parametrize("tests", [None, EXAMINED], ids=["alone", "examined"])
async def test_a_zygote_that_is_ended_for_its_programs_memory_is_the_programs_failure(engine, client, tests):
    """As the kernel does where zygotes are not kept out of its choice: the program is not run again, to end another one."""
    running = asyncio.create_task(client.execute(script(LOSES_A_CHILD, tests=tests)))
    await until(lambda: any("oom_kill 1" in counts.read_text() for counts in oom_kills_of(engine)))
    kill(next(zygote for zygote in zygotes_of(engine) if set(cells_of(engine)) & set(children_of(zygote))))
    report = await running
    assert (report.verdict, report.cause.limit) == (Verdict.MEMORY_LIMIT, "memory_bytes"), report
    assert await is_healthy(client)
    await until(lambda: len(zygotes_of(engine)) == 2)


# Slots that lack something


def groups_of(engine):
    """The folders of an engine's slots in each hierarchy."""
    hierarchy = find_hierarchy()
    if isinstance(hierarchy, str):
        return []
    own = [folder for root in hierarchy.folders.values() for folder in root.glob(f"{PREFIX}{engine.pid}-*")]
    return [slot for folder in own for slot in folder.glob("slot-*")]


def oom_kills_of(engine):
    return [
        file for group in groups_of(engine) for name in ("oom_control", "events") if (file := group / f"memory.{name}").exists()
    ]


@as_root
@with_cgroups
async def test_slots_whose_cgroups_are_gone_are_replaced(engine, client):
    """Somebody moved their processes elsewhere and removed them."""
    for group in groups_of(engine):
        for pid in (group / "cgroup.procs").read_text().split():
            (group.parent.parent / "cgroup.procs").write_text(pid)
        group.rmdir()
    reports = [await client.execute(script("print('well')", id=str(n))) for n in range(6)]
    assert [report.verdict for report in reports[2:]] == [Verdict.FINISHED] * 4
    assert {report.verdict for report in reports[:2]} <= {Verdict.FINISHED, Verdict.INFRASTRUCTURE_ERROR}
    assert len(groups_of(engine)) > 0


TAKE_THE_BOX_AWAY = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
for name in ("user", "mnt"):
    os.setns(os.open(f"/proc/{sys.argv[1]}/ns/{name}", os.O_RDONLY), 0)
MS_REMOUNT, MS_BIND, MNT_DETACH = 32, 4096, 2
assert libc.umount2(b"/box", MNT_DETACH) == 0, ctypes.get_errno()
assert libc.mount(None, b"/", None, MS_REMOUNT | MS_BIND, None) == 0, ctypes.get_errno()
os.rmdir("/box")
"""


@as_root
async def test_a_slot_whose_file_system_cannot_be_mounted_is_replaced(engine, client):
    """The place where every cell mounts its memory file system is gone from one slot; the programs run in the other one."""
    first = zygotes_of(engine)[0]
    taking = await asyncio.create_subprocess_exec(sys.executable, "-c", TAKE_THE_BOX_AWAY, str(first))
    assert await taking.wait() == 0
    assert all([await is_healthy(client) for _ in range(3)])
    await until(lambda: not alive(first))


def test_a_module_that_slots_cannot_import_ahead_is_named(tmp_path):
    (tmp_path / "engine.toml").write_text('preload = ["json", "nosuch"]')
    with (
        pytest.raises(StartFailed, match=r"cannot import nosuch \(ModuleNotFoundError"),
        LocalEngine(config=tmp_path / "engine.toml"),
    ):
        pass


# A host that is short of something

SERVE = (sys.executable, "-m", "engine", "serve")
ON_A_FULL_DISK = 'mount -t tmpfs -o size=16k none "$0" && ! head -c 64k /dev/zero > "$0/filler" 2>/dev/null && TMPDIR="$0" exec "$@" 2> "$0/log"'


@as_root
async def test_a_full_disk_keeps_no_program_and_no_slot_from_starting(tmp_path):
    """The engine's log and its temporary folder lie on it. A slot that is killed is replaced all the same."""
    command = ("unshare", "--mount", "sh", "-c", ON_A_FULL_DISK, str(tmp_path), *SERVE)
    with LocalEngine(slots=1, command=command) as engine:
        async with AsyncClient(engine.address) as client:
            assert await is_healthy(client)
            for zygote in zygotes_of(engine):
                kill(zygote)
            assert await is_healthy(client)


def descriptors_of(pid):
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


async def test_an_engine_without_descriptors_answers_whom_it_knows_and_recovers(engine, client):
    """Connections take all that there are while a slot breaks. Its successor starts once there are descriptors again."""
    assert await is_healthy(client)
    usual = descriptors_of(engine.pid)
    resource.prlimit(engine.pid, resource.RLIMIT_NOFILE, (usual + 8, usual + 8))
    connections = []
    for _ in range(20):
        connections.append(socket.socket(socket.AF_UNIX))
        connections[-1].connect(engine.address.removeprefix("unix:"))
    try:
        await until(lambda: descriptors_of(engine.pid) == usual + 8)
        assert await is_healthy(client)
        kill(zygotes_of(engine)[0])
        assert await is_healthy(client)
        await until(lambda: "does not start" in engine.log)
    finally:
        for connection in connections:
            connection.close()
    await until(lambda: len(zygotes_of(engine)) == 2)
    assert await is_healthy(client)
    await until(lambda: descriptors_of(engine.pid) <= usual)


@pytest.fixture
def small_host():
    """A cgroup with 400 MiB in all, to start an engine in: what its programs may use is more than there is."""
    hierarchy = find_hierarchy()
    assert not isinstance(hierarchy, str)
    folder = hierarchy.folders["memory"] / f"rrtf-test-{os.getpid()}"
    folder.mkdir()
    (folder / ("memory.limit_in_bytes" if hierarchy.version == 1 else "memory.max")).write_text(str(400 * MIB))
    yield folder
    for inner, _, _ in folder.walk(top_down=False):
        inner.rmdir()


@as_root
@with_cgroups
async def test_a_program_that_the_host_has_no_memory_for_did_not_exceed_its_limit(small_host):
    """The kernel ends it, not the engine and not its slot's zygote, and the verdict is not the program's."""
    command = ("sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(small_host), *SERVE)
    with LocalEngine(slots=1, command=command) as engine:
        async with AsyncClient(engine.address) as client:
            hungry = script("data = bytearray(1 << 30)", limits=Limits(memory_bytes=2048 * MIB))
            report = await client.execute(hungry)
            assert report.verdict is Verdict.INFRASTRUCTURE_ERROR
            assert "memory" in report.cause.message
            own = await client.execute(script("data = bytearray(1 << 30)"))
            assert own.verdict is Verdict.MEMORY_LIMIT
            assert await is_healthy(client)


# Clients

RUNS_FOR_A_MINUTE = """
import sys
from engine.client import Client, Job
program = "import ctypes, time; ctypes.CDLL(None).prctl(15, b'lasting', 0, 0, 0); time.sleep(60)"
with Client(sys.argv[1]) as client:
    client.execute(Job(id="long", program=program))
"""


async def test_the_program_of_a_client_that_vanishes_dies_within_100_ms(engine):
    """The client is killed. Measured five times, the quickest counts: this machine may be doing other things."""
    times = []
    for _ in range(5):
        client = await asyncio.create_subprocess_exec(sys.executable, "-c", RUNS_FOR_A_MINUTE, engine.address)
        [cell] = await until(lambda: named("lasting", engine))
        with os.fdopen(os.pidfd_open(cell)) as end:
            began = time.monotonic()
            client.kill()
            await until(lambda: select.select([end], [], [], 0)[0])
            times.append(time.monotonic() - began)
        await client.wait()
    assert min(times) < 0.1, times


def memory_of(pid):
    """What the process has in memory of its own, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))


async def test_a_client_that_does_not_read_costs_bounded_memory_and_nobody_else(tmp_path):
    """It asks for 480 MiB of output and reads none of it. The engine keeps what its window allows, and serves others in turn."""
    settings = tmp_path / "engine.toml"
    settings.write_text("stream_window = 32\n")
    limits = Limits(output_bytes=8 * MIB)
    jobs = [script("print('x' * (8 << 20 - 1))", id=str(n), limits=limits) for n in range(60)]
    with LocalEngine(slots=2, config=settings) as engine:
        async with AsyncClient(engine.address) as client, grpc.aio.insecure_channel(engine.address) as channel:
            before = memory_of(engine.pid)
            requests = (pb.ExecuteStreamRequest(requests=[wire.request_from_job(job)]) for job in jobs)
            unread = pb_grpc.ExecutionStub(channel).ExecuteStream(requests)
            for _ in range(2 * len(jobs)):  # clients take turns, so the other one could have run all of its own meanwhile
                assert await is_healthy(client, programs=1)
            assert memory_of(engine.pid) - before < 96 * MIB
            unread.cancel()


# The engine's own end


async def test_sigterm_lets_programs_finish_and_ends_the_engine(engine, client):
    """What was accepted is answered, then the process ends with 0 and leaves neither processes nor groups."""
    running = asyncio.create_task(client.execute(script(SLEEPS.format(0.5))))
    await until(lambda: cells_of(engine))
    processes, groups = [*jails_of(engine), *zygotes_of(engine)], groups_of(engine)
    os.kill(engine.pid, signal.SIGTERM)
    assert (await running).stdout == b"done\n"
    assert await asyncio.to_thread(engine._process.wait) == 0
    await until(lambda: not any(map(alive, processes)))  # whoever adopted them may take a moment to reap them
    assert not any(group.exists() for group in groups)
