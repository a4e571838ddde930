"""Do verdicts change with load? The same programs through an idle engine and one that is offered eight times what it holds.

    python -m benchmarks.flips [--programs 20000]

Idle: one program at a time. Overloaded: eight programs at once for each slot, while other processes keep every core busy. A tenth
of the programs use 80 % of their CPU time limit and a tenth 120 %. Prints the counts, exits with 1 where a verdict changed.
"""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks import command_line
from engine.client import (
    AssertTests,
    Client,
    FunctionTest,
    FunctionTests,
    Job,
    Limits,
    LocalEngine,
    Report,
    StdioTest,
    StdioTests,
)

OVERLOAD = 8
LIMITS = Limits(cpu_time_ms=60, wall_time_ms=1_000, memory_bytes=24 << 20, output_bytes=10_000, processes=8)
BURN = "import time\nend = time.process_time() + {}\nwhile time.process_time() < end: pass\n"
ADD = AssertTests(code="assert add(1, 2) == 3\nassert all(add(n, 1) == n + 1 for n in range(3))", entry_points=("add",))
KINDS = (
    ("uses 80 % of its time", BURN.format(0.8 * LIMITS.cpu_time_ms / 1000), None),
    ("uses 120 % of its time", BURN.format(1.2 * LIMITS.cpu_time_ms / 1000), None),
    ("prints", "print('hello')", None),
    ("passes", "def add(a, b): return a + b", ADD),
    ("is wrong", "def add(a, b): return a - b", ADD),
    ("raises", "def add(a, b): raise KeyError(a)", ADD),
    ("is no Python", "def add(a b): return a", ADD),
    ("takes memory", "data = bytearray(40 << 20)", None),
    (
        "answers calls",
        "def f(x): return [x] * 3",
        FunctionTests(entry_point="f", tests=(FunctionTest(args=(1,), expected=[1, 1, 1]),)),
    ),
    ("reads", "print(input()[::-1])", StdioTests(tests=(StdioTest(stdin=b"abc", expected_stdout=b"cba"),))),
)


def jobs(count: int) -> Iterator[Job]:
    """Every kind in turn; the id says which."""
    for number in range(count):
        name, program, tests = KINDS[number % len(KINDS)]
        yield Job(id=f"{number} {name}", program=program, tests=tests, limits=LIMITS)


@contextmanager
def busy_cores() -> Iterator[None]:
    """Other processes compute on every core."""
    hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in os.sched_getaffinity(0)]
    try:
        yield
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()


def reports(client: Client, count: int, window: int) -> dict[str, Report]:
    """The report on each program, with a line per tenth on stderr."""
    found: dict[str, Report] = {}
    began = time.monotonic()
    for report in client.execute_stream(jobs(count), window=window):
        found[report.id] = report
        if len(found) % max(1, count // 10) == 0:
            print(f"{window} at once: {len(found)} after {time.monotonic() - began:.0f} s", file=sys.stderr)
    return found


def _told(report: Report) -> str:
    return f"{report.verdict.value} ({report.cause.message})"


def main() -> int:
    """Run both and compare."""
    parser = command_line("flips", __doc__)
    parser.add_argument("--programs", type=int, default=20_000)
    count = parser.parse_args().programs
    with LocalEngine() as engine, Client(engine.address) as client:
        slots = client.describe().slots
        idle = reports(client, count, 1)
        with busy_cores():
            loaded = reports(client, count, OVERLOAD * slots)
    flips = [name for name in idle if idle[name].verdict is not loaded[name].verdict]
    print(
        json.dumps(
            {
                "programs": count,
                "overload": OVERLOAD,
                "flips": len(flips),
                "flipped": Counter(name.partition(" ")[2] for name in flips),
                "verdicts": Counter(report.verdict.value for report in loaded.values()),
            },
            indent=2,
        )
    )
    for name in flips[:10]:
        print(f"{name}: idle {_told(idle[name])}; overloaded {_told(loaded[name])}", file=sys.stderr)
    return 1 if flips else 0


if __name__ == "__main__":
    sys.exit(main())
