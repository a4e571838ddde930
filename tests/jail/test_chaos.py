"""The chaos of benchmarks/chaos.py, short enough to be run with every change."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.jail


def test_every_program_has_its_one_right_answer_while_parts_are_killed():
    """A kill for every eight of 200 programs; what the command finds wrong it says on stderr."""
    command = [sys.executable, "-m", "benchmarks.chaos", "--programs", "200", "--between", "8"]
    chaos = subprocess.run(command, capture_output=True, text=True, timeout=110)
    assert chaos.returncode == 0, chaos.stdout + chaos.stderr
    figures = {name: int(value) for name, value in (line.rsplit(maxsplit=1) for line in chaos.stdout.splitlines())}
    assert figures["answered"] == 200
    assert figures["killed: zygote"] + figures["killed: nsjail"] > 0
    assert figures["killed: connection"] > 0
