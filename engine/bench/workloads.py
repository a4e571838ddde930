"""What is run: named lists of jobs, each with its stand-alone form for the baselines."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from engine.errors import BadConfig
from engine.nearest import nearest
from engine.problems import read_problems
from engine.records import AssertTests, Job, Limits, StdioTest, StdioTests, Verdict

_FILES = {"humaneval": "HumanEval.jsonl.gz", "leetcode": "leetcode-400.jsonl.gz"}


@dataclass(frozen=True, kw_only=True)
class Workload:
    """`scripts` holds the programs that a baseline runs instead, (source, stdin), one for each process it takes.

    It is empty where programs must not run without limits. `expected` has a verdict for each job.
    """

    name: str
    jobs: tuple[Job, ...]
    scripts: tuple[tuple[str, bytes], ...]
    expected: tuple[Verdict, ...]


def sample[T](items: Sequence[T], every: int, turn: int) -> Sequence[T]:
    """Every n-th item, starting one further each turn, so that `every` turns see all of them. Never empty for some items."""
    step = max(1, min(every, len(items)))
    return items[turn % step :: step]


def new_tests(workload: Workload, turn: int) -> Workload | None:
    """The same jobs with test code that no engine has seen before; None where no job has test code."""
    jobs = tuple(_with_new_tests(job, turn) for job in workload.jobs)
    return None if jobs == workload.jobs else replace(workload, jobs=jobs)


def _with_new_tests(job: Job, turn: int) -> Job:
    if not isinstance(job.tests, AssertTests):
        return job
    return replace(job, tests=replace(job.tests, code=f"{job.tests.code}\n# {turn}\n"))


def workload(name: str) -> Workload:
    """The workload of that name. Raises BadConfig where there is none, or no file for it."""
    check_workload(name)
    return WORKLOADS[name]()


def check_workload(name: str) -> None:
    """Raises BadConfig where there is no workload of that name, or no file for it."""
    if name not in WORKLOADS:
        raise BadConfig(f"there is no workload {name!r}{nearest(name, WORKLOADS)}")
    if not available(name):
        raise BadConfig(f"the workload {name} needs {_FILES[name]}; set RRTF_DATA to the folder that holds it")


def available(name: str) -> bool:
    """Whether the file of that workload is there, for those that need one."""
    return name not in _FILES or _file(name).exists()


def _file(name: str) -> Path:
    """The project does not ship these files: RRTF_DATA names their folder, which is otherwise the current one."""
    return Path(os.environ.get("RRTF_DATA", "")) / _FILES[name]


def trivial(count: int = 200) -> Workload:
    """A program that prints: nothing but overhead."""
    source = "print('hello')\n"
    jobs = tuple(Job(id=f"trivial-{number}", program=source) for number in range(count))
    return Workload(name="trivial", jobs=jobs, scripts=((source, b""),) * count, expected=(Verdict.FINISHED,) * count)


def stdio(tests: int = 50, count: int = 6) -> Workload:
    """A program with many stdin tests, each of which needs a process of its own."""
    source = "n = int(input())\nprint(sum(int(x) for x in input().split()) * n)\n"
    cases = [(f"{n}\n{' '.join(map(str, range(100)))}\n".encode(), f"{4950 * n}\n".encode()) for n in range(tests)]
    stdio_tests = StdioTests(tests=tuple(StdioTest(stdin=stdin, expected_stdout=stdout) for stdin, stdout in cases))
    jobs = tuple(Job(id=f"stdin-{number}", program=source, tests=stdio_tests) for number in range(count))
    scripts = tuple((source, stdin) for stdin, _ in cases) * count
    return Workload(name="stdin", jobs=jobs, scripts=scripts, expected=(Verdict.PASSED,) * count)


def of_problems(name: str) -> Workload:
    """The gold solutions of the problems file of that name."""
    jobs, scripts = [], []
    for problem in read_problems(_file(name)).values():
        job = problem.gold_job()
        assert isinstance(job.tests, AssertTests)
        assert isinstance(job.program, str)
        call = f"\n{job.tests.check}({job.tests.entry_points[0]})\n" if job.tests.check else ""
        jobs.append(job)
        scripts.append((f"{job.program}\n{job.tests.code}{call}", b""))
    return Workload(name=name, jobs=tuple(jobs), scripts=tuple(scripts), expected=(Verdict.PASSED,) * len(jobs))


def mixed(count: int = 100) -> Workload:
    """Short programs with a tenth that runs into its time limit and a tenth that takes too much memory."""
    limits = Limits(cpu_time_ms=200, wall_time_ms=2_000, memory_bytes=64 << 20)
    good = ("print(sum(range(10_000)))\n", Verdict.FINISHED)
    bad = {0: ("while True: pass\n", Verdict.TIME_LIMIT), 5: ("data = bytearray(100 << 20)\n", Verdict.MEMORY_LIMIT)}
    kinds = [bad.get(number % 10, good) for number in range(count)]
    jobs = tuple(Job(id=f"mixed-{number}", program=source, limits=limits) for number, (source, _) in enumerate(kinds))
    return Workload(name="mixed", jobs=jobs, scripts=(), expected=tuple(verdict for _, verdict in kinds))


def offered(count: int = 100) -> Workload:
    """What an engine is offered under load: HumanEval where it is there, and programs whose verdict load could change.

    One in ten uses 80 or 120 % of its CPU time limit, answers wrongly, or raises.
    """
    calm = of_problems("humaneval") if available("humaneval") else trivial()
    delicate = (_burner(0.8), _burner(1.2), _wrong(), _raising())
    jobs, expected = [], []
    for number in range(count):
        job, verdict = delicate[number // 10 % 4] if number % 10 == 0 else _nth(calm, number)
        jobs.append(replace(job, id=f"{number}"))
        expected.append(verdict)
    return Workload(name="offered", jobs=tuple(jobs), scripts=(), expected=tuple(expected))


def _nth(workload: Workload, number: int) -> tuple[Job, Verdict]:
    index = number % len(workload.jobs)
    return workload.jobs[index], workload.expected[index]


def _burner(share: float, limit_ms: int = 50) -> tuple[Job, Verdict]:
    source = f"import time\nend = time.process_time() + {share * limit_ms / 1000}\nwhile time.process_time() < end: pass\n"
    limits = Limits(cpu_time_ms=limit_ms, wall_time_ms=10_000)
    return Job(id="burner", program=source, limits=limits), Verdict.FINISHED if share < 1 else Verdict.TIME_LIMIT


def _wrong() -> tuple[Job, Verdict]:
    tests = StdioTests(tests=(StdioTest(stdin=b"1\n", expected_stdout=b"2\n"),))
    return Job(id="wrong", program="print(input())\n", tests=tests), Verdict.WRONG_ANSWER


def _raising() -> tuple[Job, Verdict]:
    return Job(id="raising", program="[][0]\n"), Verdict.RUNTIME_ERROR


WORKLOADS: dict[str, Callable[[], Workload]] = {
    "trivial": trivial,
    "stdin": stdio,
    "humaneval": lambda: of_problems("humaneval"),
    "leetcode": lambda: of_problems("leetcode"),
    "mixed": mixed,
}
TITLES = {
    "trivial": "a program that prints one line",
    "stdin": "a program with 50 stdin tests",
    "humaneval": "HumanEval, gold solutions",
    "leetcode": "LeetCode, gold solutions",
    "mixed": "10 % time-outs, 10 % memory hogs",
}
