"""Whole runs, small, that sample by replicas: Ray is started for the run, and ends with it."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import ray
from rich.console import Console

from tests.trainer import small
from tests.trainer.fakes import FakeExecutor
from trainer.errors import SamplerError
from trainer.main import run
from trainer.recipe import Recipe
from trainer.records import read_lines
from trainer.run_folder import open_run
from trainer.sampling.cluster import begin, connect
from trainer.sampling.settings import Ray
from trainer.screen import Screen

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),  # Ray starts within seconds on a quiet machine
    pytest.mark.filterwarnings("ignore"),  # of Ray's own
]

ROOT = Path(__file__).parents[3]


def candidates(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Of every stage that samples."""
    files = sorted(path.glob("*/*/outcomes.jsonl"))
    return {str(file.relative_to(path)): [line["candidate"] for line in read_lines(file)] for file in files}


def test_a_run_with_replicas_samples_what_a_run_without_does(tmp_path: Path) -> None:
    """Two rounds, each from its own weights: the same candidates in every stage, from the same models."""

    def outcomes(name: str) -> dict[str, list[dict[str, Any]]]:
        plain = small.recipe(tmp_path / name)
        recipe = plain.model_copy(update={"sampling": plain.sampling.model_copy(update={"sampler": name})})
        folder = open_run(Recipe.model_validate(recipe.model_dump()))
        run(recipe, folder, FakeExecutor().connect, Screen(Console(quiet=True)))
        folder.close()
        return candidates(folder.path)

    found = outcomes("ray")
    assert len(found) == 5
    assert found == outcomes("transformers")


def test_a_cluster_that_does_not_start_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    """With Ray's own reason, and what else can be done."""
    monkeypatch.setenv("RAY_TMPDIR", "/proc/nothing")
    with pytest.raises(SamplerError, match=r"no cluster could be started .*'/proc/nothing'.*ray start --head"):
        connect(Ray())


def test_a_machine_without_room_for_a_replica_is_explained_at_once() -> None:
    """Nothing can join a cluster that was started for the run alone; Ray ends."""
    with pytest.raises(SamplerError, match=r"no replica can be made on this machine: .* each of 2 replicas takes 1000 with 0"):
        connect(Ray(cpus=1000))
    assert not ray.is_initialized()


def test_a_node_that_is_not_up_in_time_is_started_anew() -> None:
    """What the first start has left behind is ended."""
    started: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        started.append(subprocess.Popen(["/bin/sleep", "infinity"]))
        if len(started) == 1:
            raise Exception("timed out")  # as Ray does

    begin(start)
    first, second = started
    assert not Path(f"/proc/{first.pid}").exists()
    assert second.poll() is None
    second.kill()
    for process in started:
        process.wait()


def test_what_starting_anew_does_not_cure_is_raised_at_once() -> None:
    """A setting that cannot be, for example."""
    starts: list[None] = []

    def start() -> None:
        starts.append(None)
        raise ValueError("no such folder")

    with pytest.raises(ValueError, match="no such folder"):
        begin(start)
    assert len(starts) == 1


def processes_of(session: int) -> dict[int, str]:
    """What runs on behalf of a process, by its place in the family tree."""
    parents, names = {}, {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            status = (entry / "stat").read_text()
            names[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ")
        except OSError:  # it has ended meanwhile
            continue
        parents[int(entry.name)] = int(status.rpartition(")")[2].split()[1])
    family = {session}
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    return {pid: names[pid] for pid in family}


@pytest.mark.jail
def test_ctrl_c_ends_the_replicas(tmp_path: Path) -> None:
    """And Ray with them; the command says how to go on."""
    lines = tmp_path / "runs/small/start/evaluation.partial/unfinished/progress.jsonl"
    settings = small.recipe(tmp_path / "runs").model_dump(mode="json", exclude_defaults=True)
    settings["sampling"] |= {"sampler": "ray", "max_response_tokens": 60, "stop_at": []}
    settings["tasks"]["held_out"] = 1000
    flags = [f"--set={section}.{key}={json.dumps(value)}" for section, keys in settings.items() for key, value in keys.items()]
    command = [sys.executable, "-m", "trainer.main", *flags]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as running:
        while running.poll() is None and not (lines.exists() and lines.read_text()):
            time.sleep(0.1)
        family = processes_of(running.pid)
        running.send_signal(signal.SIGINT)
        _, said = running.communicate()
    assert running.returncode == 130, said
    assert "the same command continues it" in said
    assert any(name.startswith("ray::Replica") for name in family.values())
    deadline = time.monotonic() + 30
    while left := [pid for pid in family if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < deadline, {pid: family[pid] for pid in left}
        time.sleep(0.1)
