"""What `doctor` says of this host, and of hosts whose Python for the programs is broken: findings, each with a cure."""

import json
import subprocess
import sys
import venv
from dataclasses import fields
from pathlib import Path

import pytest

from engine.config import EngineConfig
from engine.doctor import Finding, examine

ROOT = Path(__file__).parents[2]
NAMES = [
    "kernel",
    "user namespaces",
    "seccomp",
    "nsjail",
    "cgroups",
    "scheduler statistics",
    "programs' Python",
    "programs' packages",
    "a program in a jail",
]
JAIL = NAMES[-1]


def doctor(*arguments):
    command = [sys.executable, "-m", "engine", "doctor", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)


def by_name(findings):
    return {finding.name: finding for finding in findings}


BROKEN = {
    "missing": None,
    "a folder": "folder",
    "no interpreter": "#!/bin/sh\nexit 1\n",
    "something that says nothing": "#!/bin/sh\nexit 0\n",
    "something that says much": "#!/bin/sh\nseq 1000\n",
    "not executable": "",
    "too old": "#!/bin/sh\nprintf 'False\\n3.8.1\\n/usr\\n/usr\\n/usr/bin/python3\\n'\n",
}


@pytest.fixture(params=BROKEN.values(), ids=list(BROKEN))
def broken_python(request, tmp_path):
    """The path of a Python that no program can run in."""
    path = tmp_path / "python"
    if request.param == "folder":
        path.mkdir()
    elif request.param is not None:
        path.write_text(request.param)
        path.chmod(0o755 if request.param else 0o644)
    return path


async def test_a_broken_python_is_a_finding(broken_python):
    """Named with its path; the program in the jail names it too, and everything else is looked at nevertheless."""
    findings = await examine(EngineConfig(candidate_python=broken_python))
    assert [finding.name for finding in findings] == NAMES
    found = by_name(findings)
    assert (found["programs' Python"].good, found["programs' Python"].needed) == (False, True)
    assert (found[JAIL].good, found[JAIL].needed) == (False, True)
    assert str(broken_python) in found["programs' Python"].found
    assert str(broken_python) in found[JAIL].found


async def test_what_is_not_good_has_a_cure(tmp_path):
    """And what could be better without keeping programs from running says so."""
    findings = await examine(EngineConfig(candidate_python=tmp_path / "missing"))
    assert all(finding.cure for finding in findings if not finding.good)
    assert {finding.name for finding in findings if not finding.needed} == {
        "cgroups",
        "scheduler statistics",
        "programs' packages",
    }


async def test_packages_are_looked_for_in_the_programs_python(tmp_path):
    """Where it does not run there are none; the cure is a command for that very Python."""
    python = tmp_path / "missing"
    finding = by_name(await examine(EngineConfig(candidate_python=python)))["programs' packages"]
    assert (finding.good, finding.found) == (False, "without numpy, sortedcontainers")
    assert finding.cure.startswith(f"{python} -m pip install ")
    python.write_text(f"#!/bin/sh\nexec {sys.executable} -I -c 'print(\"numpy\")'\n")
    python.chmod(0o755)
    finding = by_name(await examine(EngineConfig(candidate_python=python)))["programs' packages"]
    assert finding.found == "without numpy"


def test_no_program_can_run_is_exit_code_1(tmp_path):
    """The table marks what is missing and prints its cure; the settings are those of the file."""
    config = tmp_path / "engine.toml"
    config.write_text(f'candidate_python = "{tmp_path}/missing"\n')
    plain, as_json = doctor("--config", str(config)), doctor("--config", str(config), "--json")
    assert (plain.returncode, as_json.returncode) == (1, 1)
    assert json.loads(as_json.stdout)["good"] is False
    missing = [line.split()[0] for line in plain.stdout.splitlines() if "programs' Python" in line or JAIL in line]
    assert missing == ["missing", "missing"]
    assert "make setup" in plain.stdout


def test_a_path_stays_on_one_line(tmp_path):
    """So that it can be copied, however long it is."""
    config = tmp_path / "engine.toml"
    config.write_text(f'candidate_python = "{tmp_path}/{"far/" * 40}python"\n')
    assert f"{tmp_path}/{'far/' * 40}python -m pip install" in doctor("--config", str(config)).stdout


def test_a_wrong_setting_is_no_finding(tmp_path):
    """Nothing is looked at then: the exit code is that of a command that was given wrongly."""
    config = tmp_path / "engine.toml"
    config.write_text("slot = 1\n")
    ran = doctor("--config", str(config), "--json")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "did you mean 'slots'?" in ran.stderr


@pytest.mark.jail
def test_a_host_with_jails_is_good():
    """One object with a finding per look, the last of which is a program that really ran; the exit code says the same."""
    ran = doctor("--json")
    told = json.loads(ran.stdout)
    assert set(told) == {"good", "findings"}
    assert [finding["name"] for finding in told["findings"]] == NAMES
    assert all(set(finding) == {field.name for field in fields(Finding)} for finding in told["findings"])
    assert told["good"] is all(finding["good"] for finding in told["findings"] if finding["needed"])
    assert (told["good"], ran.returncode) == (True, 0)
    assert told["findings"][-1]["found"].startswith("ran, ")


@pytest.mark.jail
def test_a_host_without_what_is_not_needed_is_good(tmp_path):
    """Programs run in a bare Python as well: what they lack is told, and no reason for exit code 1."""
    venv.create(tmp_path / "bare", with_pip=False)
    config = tmp_path / "engine.toml"
    config.write_text(f'candidate_python = "{tmp_path}/bare/bin/python"\n')
    ran = doctor("--config", str(config), "--json")
    told = json.loads(ran.stdout)
    packages = next(finding for finding in told["findings"] if finding["name"] == "programs' packages")
    assert (packages["good"], packages["needed"]) == (False, False)
    assert (told["good"], ran.returncode) == (True, 0)
