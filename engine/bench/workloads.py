"""What is run: named lists of jobs, each with its stand-alone form for the baselines."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from engine.problems import read_problems
from engine.records import AssertTests, Job, Limits, StdioTest, StdioTests

DATA = Path(os.environ.get("RRTF_DATA", "../shared/data"))
"""Where problem files lie that the project does not ship."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """`scripts` holds, for each job, the programs a baseline runs instead: (source, stdin), one for each process it takes."""

    name: str
    jobs: tuple[Job, ...]
    scripts: tuple[tuple[tuple[str, bytes], ...], ...]


def all_workloads() -> Iterator[Workload]:
    """Those whose data is there."""
    yield trivial()
    yield stdio()
    for name, file in (("humaneval", "HumanEval.jsonl.gz"), ("leetcode", "leetcode-400.jsonl.gz")):
        if (DATA / file).exists():
            yield of_problems(name, DATA / file)
    yield mixed()


def trivial(count: int = 200) -> Workload:
    """A program that prints: nothing but overhead."""
    source = "print('hello')\n"
    jobs = tuple(Job(id=f"trivial-{number}", program=source) for number in range(count))
    return Workload(name="trivial", jobs=jobs, scripts=(((source, b""),),) * count)


def stdio(tests: int = 50, count: int = 6) -> Workload:
    """A program with many stdin tests, each of which needs a process of its own."""
    source = "n = int(input())\nprint(sum(int(x) for x in input().split()) * n)\n"
    cases = [(f"{n}\n{' '.join(map(str, range(100)))}\n".encode(), f"{4950 * n}\n".encode()) for n in range(tests)]
    stdio_tests = StdioTests(tests=tuple(StdioTest(stdin=stdin, expected_stdout=stdout) for stdin, stdout in cases))
    jobs = tuple(Job(id=f"stdio-{number}", program=source, tests=stdio_tests) for number in range(count))
    return Workload(name=f"stdin x{tests}", jobs=jobs, scripts=(tuple((source, stdin) for stdin, _ in cases),) * count)


def of_problems(name: str, file: Path) -> Workload:
    """The gold solutions of a problems file."""
    jobs, scripts = [], []
    for problem in read_problems(file).values():
        job = problem.gold_job()
        assert isinstance(job.tests, AssertTests)
        assert isinstance(job.program, str)
        call = f"\n{job.tests.check}({job.tests.entry_points[0]})\n" if job.tests.check else ""
        jobs.append(job)
        scripts.append(((f"{job.program}\n{job.tests.code}{call}", b""),))
    return Workload(name=name, jobs=tuple(jobs), scripts=tuple(scripts))


def mixed(count: int = 100) -> Workload:
    """Short programs with a tenth that runs into its time limit and a tenth that takes too much memory."""
    limits = Limits(cpu_time_ms=200, wall_time_ms=2_000, memory_bytes=64 << 20)
    kinds = {0: "while True: pass\n", 5: "data = bytearray(100 << 20)\n"}
    sources = [kinds.get(number % 10, "print(sum(range(10_000)))\n") for number in range(count)]
    jobs = tuple(Job(id=f"mixed-{number}", program=source, limits=limits) for number, source in enumerate(sources))
    return Workload(name="10% time-outs, 10% hogs", jobs=jobs, scripts=())
