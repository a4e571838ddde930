"""Each limit has a verdict of its own, with what was measured and what is allowed; the next program is not affected."""

from dataclasses import replace

import pytest

from engine.records import MINIMUM_MEMORY_BYTES, CauseKind, Verdict
from tests.jail.conftest import LIMITS

PROGRAMS = {
    "cpu_time_ms": (Verdict.TIME_LIMIT, "while True: pass"),
    "cpu_time_ms of children": (
        Verdict.TIME_LIMIT,
        "import os\nfor _ in range(4):\n    if os.fork() == 0:\n        while True: pass\nos.wait()",
    ),
    "cpu_time_ms of children that nobody waits for": (
        Verdict.TIME_LIMIT,
        (
            "import os, signal, time\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\nwhile True:\n"
            "    if os.fork() == 0:\n        end = time.process_time() + 0.2\n        while time.process_time() < end: pass\n"
            "        os._exit(0)\n    try: os.wait()\n    except ChildProcessError: pass"
        ),
    ),
    "wall_time_ms": (Verdict.WALL_TIME_LIMIT, "import time; time.sleep(60)"),
    "memory_bytes": (Verdict.MEMORY_LIMIT, "data = bytearray(200 << 20)"),
    "memory_bytes step by step": (Verdict.MEMORY_LIMIT, "data = []\nwhile True: data.append(bytes(100_000))"),
    "memory_bytes at once": (Verdict.MEMORY_LIMIT, "data = 'a' * 10**13"),
    "memory_bytes in files": (Verdict.MEMORY_LIMIT, "for n in range(200):\n    open(str(n), 'wb').write(bytes(1 << 20))"),
    "output_bytes": (Verdict.OUTPUT_LIMIT, "while True: print('a' * 1000)"),
    "output_bytes on stderr": (Verdict.OUTPUT_LIMIT, "import sys\nwhile True: sys.stderr.write('a' * 1000)"),
    "output_bytes without an end": (Verdict.OUTPUT_LIMIT, "print('a' * 200_000, flush=True)\nwhile True: pass"),
    "processes": (Verdict.PROCESS_LIMIT, "import os\nwhile True: os.fork()"),
    "processes as threads": (
        Verdict.PROCESS_LIMIT,
        "import threading, time\nfor _ in range(50): threading.Thread(target=time.sleep, args=(0.1,)).start()",
    ),
    "open_files": (Verdict.OPEN_FILES_LIMIT, "files = [open('/dev/null') for _ in range(100)]"),
    "file_size_bytes": (Verdict.FILE_SIZE_LIMIT, "open('big', 'wb').write(bytes(20 << 20))"),
}


@pytest.mark.jail
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_limit_has_its_verdict(jails, name):
    """The verdict and the numbers of the limit that was reached; then a healthy program in every slot."""
    verdict, program = PROGRAMS[name]
    report = jails.run(program)
    assert report.verdict is verdict, report
    assert report.cause.kind is CauseKind.LIMIT
    assert report.cause.limit == name.split()[0]
    assert report.cause.allowed > 0
    for healthy in [jails.run("print(sum(range(10)))") for _ in range(2)]:
        assert (healthy.verdict, healthy.stdout) == (Verdict.FINISHED, b"45\n")


@pytest.mark.jail
@pytest.mark.parametrize("job", [{"files": {"data": bytes(30 << 20)}}, {"program": b"x = 1\n" * (5 << 20)}])
def test_a_job_that_is_too_large_for_its_memory_is_over_its_limit(jails, job):
    """Its files and its source are the program's, though they are there before it begins; no slot breaks."""
    broken = jails.pool.counts.broken_slots
    program = job.get("program", "pass")
    report = jails.run(program, files=job.get("files", {}), limits=replace(LIMITS, memory_bytes=MINIMUM_MEMORY_BYTES))
    assert report.verdict is Verdict.MEMORY_LIMIT, report
    assert jails.pool.counts.broken_slots == broken


@pytest.mark.jail
@pytest.mark.parametrize(
    ("share", "verdict"),
    [(0.8, Verdict.FINISHED), (1.2, Verdict.TIME_LIMIT)],
)
def test_cpu_time_is_counted_in_milliseconds(jails, share, verdict):
    """80 % of the limit is within it, 120 % is over it."""
    program = f"import time\nend = time.process_time() + {share}\nwhile time.process_time() < end: pass"
    assert jails.run(program).verdict is verdict


@pytest.mark.jail
def test_waiting_for_a_busy_core_is_not_wall_time(jails):
    """A program whose children keep all cores busy waits, and that does not count as sleeping."""
    report = jails.run("import time\nend = time.process_time() + 0.5\nwhile time.process_time() < end: pass")
    assert report.verdict is Verdict.FINISHED
    assert report.cpu_time_ms >= 500


@pytest.mark.jail
def test_a_crowd_on_one_core_buys_no_sleep(jails):
    """Many processes that wait for each other's turns have waited no longer than there was time to wait."""
    crowd = (
        "import os, time\nos.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "for _ in range(15):\n    if os.fork() == 0: break\n"
        "end = time.process_time() + 0.04\nwhile time.process_time() < end: pass\n"
        "time.sleep(60)"
    )
    report = jails.run(crowd, limits=replace(LIMITS, wall_time_ms=500))
    assert report.verdict is Verdict.WALL_TIME_LIMIT
    assert report.wall_time_ms < 2_500, report


@pytest.mark.jail
def test_output_is_cut_and_says_so(jails):
    report = jails.run("print('a' * 200_000)")
    assert len(report.stdout) == 100_000
    assert report.stdout_truncated
    assert not report.stderr_truncated
