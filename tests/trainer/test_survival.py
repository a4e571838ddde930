"""Runs that are killed, or whose disk is full: the same command goes on and comes to the same end."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.kills import LAST_MODEL, measure, settings
from engine.client import LocalEngine


@pytest.mark.jail
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_runs_that_are_killed_come_to_the_same_end(tmp_path: Path) -> None:
    """SIGKILL at random moments: bit-identical weights, the same samples, and nothing finished is done again."""
    with LocalEngine() as engine:
        kills = measure(tmp_path, engine.address, kills=3, seed=5)
    assert [(kill.is_same, kill.repeated) for kill in kills] == [(True, 0)] * 3


FILL_UP = """
mount -t tmpfs -o size={size}k full "{disk}" || exit 77
"$@"; echo "exit code $?"
mount -o remount,size=64m "{disk}"
"$@"; echo "exit code $?"
sha256sum "{disk}/small/{model}"
"""


@pytest.mark.jail
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("size", [80, 400])
def test_a_full_disk_is_said_and_loses_nothing(tmp_path: Path, size: int) -> None:
    """A run folder on a file system that is too small; when that has grown, the same command ends as if nothing had been."""
    disk = tmp_path / "disk"
    disk.mkdir()
    script = FILL_UP.format(size=size, disk=disk, model=LAST_MODEL)
    with LocalEngine() as engine:
        command, alone = (
            [sys.executable, "-m", "trainer.main", *settings(folder, engine.address)] for folder in (disk, tmp_path)
        )
        unshared = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", *command]
        done = subprocess.run(unshared, capture_output=True, text=True, check=False)
        subprocess.run(alone, check=True, capture_output=True)
    [message] = done.stderr.strip().splitlines()
    assert message.startswith(f"error: run.folder: no space is left for {disk}/small; what was finished is kept")
    assert [line for line in done.stdout.splitlines() if line.startswith("exit code")] == ["exit code 2", "exit code 0"]
    assert hashlib.sha256((tmp_path / "small" / LAST_MODEL).read_bytes()).hexdigest() in done.stdout
