"""Runs that are killed, or whose disk is full: the same command goes on and comes to the same end."""

from pathlib import Path

import pytest

from benchmarks.kills import measure
from engine.client import LocalEngine


@pytest.mark.jail
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_runs_that_are_killed_come_to_the_same_end(tmp_path: Path) -> None:
    """SIGKILL at random moments: bit-identical weights, the same samples, and nothing finished is done again."""
    with LocalEngine() as engine:
        kills = measure(tmp_path, engine.address, kills=3, seed=5)
    assert [(kill.is_same, kill.repeated) for kill in kills] == [(True, 0)] * 3
