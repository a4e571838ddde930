"""The invariants of the engine, each under its own name."""

import asyncio
import os
import subprocess
import sys
import textwrap
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from engine.assembly import open_pool
from engine.bench.processes import children_of
from engine.client import AsyncClient, EngineGone, LocalEngine
from engine.config import EngineConfig
from engine.errors import JailUnavailable
from engine.jail.cgroups import find_hierarchy
from engine.jail.policy import ENVIRONMENT, Interpreter
from engine.jail.slot import Slot, SlotSettings
from engine.records import MIB, Job, Limits, StdioTest, StdioTests, Verdict
from tests.jail.conftest import LIMITS, examined
from tests.jail.processes import alive

pytestmark = pytest.mark.jail


def of_every_kind(count):
    """Jobs of many kinds with the verdict that each should have."""
    add = examined("assert add(1, 2) == 3", "add")
    kinds = [
        ("def add(a, b): return a + b", add, Verdict.PASSED),
        ("def add(a, b): return a - b", add, Verdict.WRONG_ANSWER),
        ("def add(a, b): raise KeyError(a)", add, Verdict.RUNTIME_ERROR),
        ("def add(a b): return a", add, Verdict.COMPILE_ERROR),
        ("import os; os._exit(0)", add, Verdict.RUNTIME_ERROR),
        ("print(input())", StdioTests(tests=(StdioTest(stdin=b"a", expected_stdout=b"a"),)), Verdict.PASSED),
        ("print('hello')", None, Verdict.FINISHED),
        ("data = bytearray(1 << 28)", None, Verdict.MEMORY_LIMIT),
        ("import os\nwhile True: os.fork()", None, Verdict.PROCESS_LIMIT),
    ]
    for number in range(count):
        program, tests, verdict = kinds[number % len(kinds)]
        yield Job(id=str(number), program=program, tests=tests, limits=LIMITS), verdict


async def test_every_accepted_program_is_answered_exactly_once():
    """Over a real socket, while the jails of the engine are killed again and again."""
    wanted = {job.id: (job, verdict) for job, verdict in of_every_kind(300)}
    reports, kills = [], 0
    with LocalEngine(slots=2) as engine:
        async with AsyncClient(engine.address) as client:
            async for report in client.execute_stream(job for job, _ in wanted.values()):
                reports.append(report)
                if len(reports) % 25 == 0:
                    kills += kill_a_zygote_of(engine.pid)
    assert Counter(report.id for report in reports) == Counter(dict.fromkeys(wanted, 1))
    for report in reports:
        assert report.verdict in (wanted[report.id][1], Verdict.INFRASTRUCTURE_ERROR), report
    assert kills > 0


def kill_a_zygote_of(pid):
    """Whether there was one."""
    for jail in children_of(pid):
        for zygote in children_of(jail):
            os.kill(zygote, 9)
            return True
    return False


LEAVES = {
    "files": ("open('/box/left', 'w').write('x')", "import os; print(os.path.exists('/box/left'))"),
    "files in /dev/shm": ("open('/dev/shm/left', 'w').write('x')", "import os; print(os.path.exists('/dev/shm/left'))"),
    "processes": (
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        time.sleep(60)\n    os._exit(0)",
        "import os; print(any(p.isdigit() and int(p) != os.getpid() for p in os.listdir('/proc')))",
    ),
    "shared memory": (
        "import ctypes; assert ctypes.CDLL(None).shmget(77, 4096, 0o1666) == -1",
        "import ctypes; print(ctypes.CDLL(None).shmget(77, 4096, 0o666) != -1)",
    ),
    "abstract sockets": (
        "import os, socket, time\nif os.fork() == 0:\n    s = socket.socket(socket.AF_UNIX); s.bind('\\0left'); s.listen(); time.sleep(60)\ntime.sleep(0.1)",
        "import socket\ns = socket.socket(socket.AF_UNIX)\ntry: s.connect('\\0left'); print(True)\nexcept OSError: print(False)",
    ),
    "locks on its output": (
        "import fcntl, struct; fcntl.fcntl(1, 37, struct.pack('hhqqi4x', fcntl.F_WRLCK, 0, 31337, 1, 0)); fcntl.flock(2, fcntl.LOCK_EX)",
        (
            "import fcntl, struct\nfree = struct.unpack('hhqqi4x', fcntl.fcntl(1, 36, struct.pack('hhqqi4x', fcntl.F_WRLCK, 0, 0, 0, 0)))[0] == fcntl.F_UNLCK\n"
            "try: fcntl.lockf(1, fcntl.LOCK_EX | fcntl.LOCK_NB)\nexcept OSError: free = False\nprint(not free)"
        ),
    ),
    "signals of its descriptors": (
        "import contextlib, fcntl\nfor fd in range(3):\n    with contextlib.suppress(OSError): fcntl.fcntl(fd, 10, 37)",
        "import fcntl; print(any(fcntl.fcntl(fd, 11) for fd in range(3)))",
    ),
    "counters of the network": (
        "import socket\nfor family in (socket.AF_INET, socket.AF_INET6):\n    try: socket.socket(family); raise SystemExit('a network')\n    except OSError: pass",
        "print(any(sum(map(int, line.split()[1:])) for line in open('/proc/self/net/dev') if ':' in line))",
    ),
    "times of its streams": (
        "import os\nfor fd in range(3): os.utime(fd)",
        "import os; print(any(os.fstat(fd).st_atime for fd in range(3)))",
    ),
    "modules": (
        "import sys, math; math.pi = 3; sys.modules['left'] = math",
        "import sys, math; print('left' in sys.modules or math.pi == 3)",
    ),
    "environment": ("import os; os.environ['LEFT'] = '1'", "import os; print('LEFT' in os.environ)"),
    "the zygote's looks at it": (
        "import time\nwhile time.process_time() < 0.12: pass",
        (
            "import os, re, signal\nchild = os.fork() or signal.pause()\nfound = []\n"
            "with open(f'/proc/{child}/maps') as maps, open(f'/proc/{child}/mem', 'rb', 0) as memory:\n"
            "    for line in maps:\n        place, mode = line.split()[:2]\n"
            "        if 'w' in mode:\n            begin, end = (int(edge, 16) for edge in place.split('-'))\n"
            "            memory.seek(begin)\n            found += re.findall(rb'\\d{6,} \\d+ \\d+\\n', memory.read(end - begin))\n"
            "os.kill(child, 9)\nprint(bool(found))"
        ),
    ),
    "flags of its stdin": (
        "import fcntl, os; fcntl.fcntl(0, fcntl.F_SETFL, os.O_APPEND | os.O_NONBLOCK)",
        "import fcntl, os; print(bool(fcntl.fcntl(0, fcntl.F_GETFL) & os.O_APPEND))",
    ),
}


@pytest.mark.parametrize("name", LEAVES)
def test_nothing_of_a_program_reaches_another(jails, name):
    """One program leaves something behind in every slot; the next ones look for it."""
    leave, look = LEAVES[name]
    for report in jails.run_all([Job(id=str(n), program=leave, limits=LIMITS) for n in range(4)]):
        assert report.verdict is Verdict.FINISHED, report
    for report in jails.run_all([Job(id=str(n), program=look, limits=LIMITS) for n in range(4)]):
        assert report.stdout == b"False\n", report


SEALING = """
import sys
from engine.client import Client, Job, LocalEngine
open("/proc/sys/vm/memfd_noexec", "w").write("1")
with LocalEngine(slots=1) as engine, Client(engine.address) as client:
    for program in sys.argv[1:]:
        print(client.execute(Job(id="job", program=program)).stdout.decode(), end="")
"""


@pytest.mark.skipif(os.geteuid() != 0 or not Path("/proc/sys/vm/memfd_noexec").exists(), reason="takes a setting of the host's")
def test_streams_cannot_be_sealed_where_the_host_allows_it():
    """In a pid namespace of its own, which has that setting for itself: else a sealed stdout is closed to all later programs."""
    seals = "import fcntl\ntry: fcntl.fcntl(1, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)\nexcept PermissionError: print('refused')"
    apart = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", SEALING, seals, "print('written')"]
    assert subprocess.run(apart, stdout=subprocess.PIPE, timeout=60, check=True).stdout == b"refused\nwritten\n"


LEAVES_MEMORY = {
    "names that the kernel remembers": (
        "import os, time\nnumber = 0\nwhile time.process_time() < 0.7:\n"
        "    os.path.lexists(f'/usr/lib/{number}{os.getrandom(4).hex()}' + 'x' * 200); number += 1"
    ),
    "memory behind the end of its streams": (
        "import ctypes; fallocate = ctypes.CDLL(None).fallocate; fallocate.argtypes = [ctypes.c_int] * 2 + [ctypes.c_long] * 2\n"
        "for fd in range(3): assert fallocate(fd, 1, 0, 8 << 20) == 0"
    ),
}


@pytest.mark.parametrize("name", LEAVES_MEMORY)
def test_the_memory_of_a_program_is_its_own(jails, name):
    """Two in a row, so that a cell is armed while the memory is there. A healthy one after them is not billed for it."""
    for report in jails.run_all([Job(id=str(n), program=LEAVES_MEMORY[name], limits=LIMITS) for n in range(4)]):
        assert report.verdict is Verdict.FINISHED, report
        assert report.peak_memory_bytes > 20 * MIB, report
    for report in jails.run_all([Job(id=str(n), program="print(1)", limits=LIMITS) for n in range(4)]):
        assert report.peak_memory_bytes < 40 * MIB, report


def test_the_time_of_a_program_is_its_own(jails):
    """A program that follows one which burnt CPU time is not billed for it."""
    burnt = jails.run("import time\nwhile time.process_time() < 0.5: pass")
    after = [jails.run("pass").cpu_time_ms for _ in range(4)]
    assert burnt.cpu_time_ms > 450
    assert max(after) < 100


def test_what_a_program_had_the_kernel_remember_is_not_blamed_on_the_next(jails):
    """Names that were looked up in vain stay in the slot's account: who meets his limit by them is out of time, not of memory."""
    looks = """
import os, sys
folder = sys.stdin.readline().strip()
for number in range(140_000):
    try:
        os.stat(f"/usr/lib/{folder}-{number}")
    except OSError:
        pass
"""
    works = "data = bytearray(105 << 20)\nfor page in range(0, len(data), 4096):\n    data[page] = 1\nwhile True:\n    pass\n"
    for _ in range(2):
        jobs = [Job(id=name, program=looks, stdin=os.urandom(8).hex().encode(), limits=LIMITS) for name in "ab"]
        assert {report.verdict for report in jails.run_all(jobs)} == {Verdict.FINISHED}
        jobs = [Job(id=name, program=works, limits=replace(LIMITS, cpu_time_ms=500)) for name in "ab"]
        assert {report.verdict for report in jails.run_all(jobs)} == {Verdict.TIME_LIMIT}


def test_the_same_program_has_the_same_verdict_idle_and_overloaded(jails):
    """Programs near their limits included: eight times as many at once as there are slots, on cores that others keep busy."""
    burn = "import time\nend = time.process_time() + {}\nwhile time.process_time() < end: pass"
    limits = Limits(cpu_time_ms=500, wall_time_ms=1_000, memory_bytes=128 * MIB, output_bytes=100_000, processes=16)
    jobs = [job for job, _ in of_every_kind(9)]
    jobs += [Job(id=f"burn {share}", program=burn.format(share / 2), limits=limits) for share in (0.8, 1.2)]
    idle = [jails.run_all([job])[0].verdict for job in jobs]
    hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    try:
        loaded = jails.run_all(jobs * 8)
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()
    assert [report.verdict for report in loaded] == idle * 8


async def test_the_engine_refuses_to_start_without_its_jail(tmp_path):
    """An nsjail that cannot jail: no slot, no engine, and above all no program that runs."""
    broken = tmp_path / "nsjail"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    settings = SlotSettings(nsjail=broken, interpreter=Interpreter.of(Path(sys.executable)))
    with pytest.raises(JailUnavailable, match="doctor"):
        await Slot.open(0, settings, None)


async def test_the_engine_refuses_an_interpreter_that_does_not_run(tmp_path):
    with pytest.raises(JailUnavailable, match="candidate_python"):
        async with open_pool(EngineConfig(candidate_python=tmp_path / "none")):
            pass


def test_nothing_runs_outside_of_the_jail(jails):
    """What a program sees is the jail: its own host name, ids and processes, no network, nothing to write to."""
    program = (
        "import os, socket\nprint(socket.gethostname(), os.getuid() != 0, os.getpid(), sorted(p for p in os.listdir('/proc') if p.isdigit()))\n"
        "print([n for _, n in socket.if_nameindex()] if hasattr(socket, 'if_nameindex') else [])\n"
        "for path in ('/', '/usr/lib/x', '/dev/x', '/engine/x'):\n    try: open(os.path.join(path, 'x'), 'w'); print('wrote', path)\n"
        "    except OSError: pass\n"
    )
    report = jails.run(program)
    assert report.stdout.startswith(b"jail True 1 ['1']\n"), report
    assert b"wrote" not in report.stdout


def test_a_cell_is_a_session_of_its_own(jails):
    """Else a program of an ordinary user's engine could signal its examiner by their group, in whatever namespace that is."""
    report = jails.run("import os; print(os.getpid() == os.getpgrp() == os.getsid(0))")
    assert report.stdout == b"True\n", report


def test_programs_find_the_stated_environment_and_no_other(jails):
    """Also in the memory that the kernel shows: what the zygote itself was started with is gone."""
    report = jails.run("import os; print(*sorted(os.environ)); import ctypes; print(ctypes.CDLL(None).getenv(b'LD_BIND_NOW'))")
    assert report.stdout.decode().split("\n")[:2] == [" ".join(sorted(ENVIRONMENT)), "0"], report


def test_a_program_is_what_an_interpreter_would_have_made_of_it(jails):
    """Though it was forked from one that had done other things before."""
    program = """
        import gc, os, random, sys, threading
        print(threading.main_thread().native_id == threading.get_native_id() == os.getpid(), threading.active_count())
        print(__name__, sys.modules["__main__"].__dict__ is globals(), sys.argv, gc.isenabled())
        print(sys.stdin.fileno(), sys.stdout.fileno(), sys.stderr.fileno(), sys.stdout is sys.__stdout__)
        print([name for name in sys.modules if name.partition(".")[0] == "inside"])
        print(random.random(), file=sys.stderr)
    """
    reports = [jails.run(textwrap.dedent(program)) for _ in range(4)]
    for report in reports:
        assert report.stdout.decode().splitlines() == ["True 1", "__main__ True ['solution.py'] True", "0 1 2 True", "[]"]
    assert len({report.stderr for report in reports}) == 4


def belongings(pid):
    """What a process and its jails hold on to: descriptors, processes, mounts, cgroups."""
    cgroups = subprocess.run(["find", "/sys/fs/cgroup", "-name", "slot-*"], capture_output=True, text=True, check=True).stdout
    return {
        "descriptors": len(list(Path(f"/proc/{pid}/fd").iterdir())),
        "mounts": len(Path(f"/proc/{pid}/mountinfo").read_text().splitlines()),
        "cgroups": sorted(line for line in cgroups.split() if f"rrtf-engine-{pid}-" in line),
        "processes": len(children_of(pid)),
    }


def memory_bytes(pid):
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def test_resources_are_the_same_after_many_programs_as_after_few(jails):
    """Descriptors, processes, mounts and cgroups exactly; memory of the engine within noise."""
    jobs = [job for job, _ in of_every_kind(45)]
    jails.run_all(jobs)
    few, few_bytes = belongings(os.getpid()), memory_bytes(os.getpid())
    for _ in range(6):
        jails.run_all(jobs)
    assert belongings(os.getpid()) == few
    assert memory_bytes(os.getpid()) - few_bytes < 8 * MIB


async def test_sigkill_of_the_engine_leaves_nothing_behind():
    """The client learns what happened; the jails die with the engine; the next engine sweeps the cgroups."""
    hierarchy = find_hierarchy()
    with LocalEngine(slots=2) as engine:
        pid = engine.pid
        assert pid is not None
        jails_of_it = [child for jail in children_of(pid) for child in (jail, *children_of(jail))]
        assert len(jails_of_it) == 4
        with pytest.raises(EngineGone, match="went away"):
            await kill_while_streaming(engine)
        for _ in range(200):
            if not any(map(alive, jails_of_it)):
                break
            await asyncio.sleep(0.05)
        assert not any(map(alive, jails_of_it))
    with LocalEngine(slots=1):
        pass
    if not isinstance(hierarchy, str):
        left = [path for folder in hierarchy.folders.values() for path in folder.glob(f"rrtf-engine-{pid}-*")]
        assert left == []


async def kill_while_streaming(engine):
    """Kills an engine after ten of a thousand programs."""
    jobs = (Job(id=str(n), program="import time; time.sleep(0.05)") for n in range(1_000))
    answered = 0
    async with AsyncClient(engine.address) as client:
        async for _ in client.execute_stream(jobs):
            answered += 1
            if answered == 10:
                os.kill(engine.pid, 9)
