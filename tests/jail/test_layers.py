"""Each layer that holds a cell, seen from inside one. docs/security.md says the same sentences."""

import contextlib
import errno
import os
import subprocess
import sys

import pytest

from engine.bench.processes import children_of
from engine.jail.inside.kernel import landlock
from engine.jail.policy import CANDIDATE_ID, EXAMINER_ID
from engine.records import Verdict
from tests.jail.conftest import examined

pytestmark = pytest.mark.jail

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user has one id to give")


def said(jails, program):
    """What a program prints."""
    report = jails.run(program)
    assert report.verdict is Verdict.FINISHED, report
    return report.stdout.decode()


def test_nothing_can_be_written_but_the_working_directory_and_nothing_of_it_is_run(jails):
    """Every mount is read-only or the cell's own; none but the bare root honours set-uid bits or devices of its own making."""
    mounts = [line.split() for line in said(jails, "print(open('/proc/self/mountinfo').read())").splitlines() if line]
    flags = {fields[4]: set(fields[5].split(",")) for fields in mounts}  # of two in one place the upper one, which comes last
    assert flags.pop("/box") >= {"rw", "nosuid", "nodev", "noexec"}
    assert "ro" in flags.pop("/")
    assert all(mount >= {"ro", "nosuid"} for mount in flags.values()), flags
    assert all("nodev" in mount for place, mount in flags.items() if not place.startswith("/dev/")), flags
    assert all("noexec" in mount for place, mount in flags.items() if place.startswith(("/dev/", "/proc", "/etc/"))), flags


def test_a_file_of_the_programs_own_is_not_run(jails):
    """What it may run is what the environment offers."""
    program = (
        "import os, subprocess\nopen('x', 'w').write('#!/bin/true')\nos.chmod('x', 0o755)\n"
        "try: subprocess.run(['/box/x']); print('ran')\nexcept PermissionError: print('refused')"
    )
    assert said(jails, program) == "refused\n"


def test_proc_shows_the_programs_own_processes_and_nothing_of_the_host(jails):
    """Neither its memory, its interrupts, its command line nor its settings."""
    assert said(jails, "import os; print(*sorted(os.listdir('/proc')))") == "1 self thread-self\n"


def test_no_privilege_is_held_or_can_be_had(jails):
    """No capability in any set, no new privileges, both filters, no id but the own one."""
    status = dict(line.split(":\t") for line in said(jails, "print(open('/proc/self/status').read().strip())").splitlines())
    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert (status["NoNewPrivs"], status["Seccomp"], status["Seccomp_filters"]) == ("1", "2", "2")
    assert len(set(status["Uid"].split())) == 1
    assert status["Groups"].strip() == ""


def test_no_core_is_dumped_and_the_limit_stays(jails):
    """At 0 the kernel would still hand cores to a program of the host, where its settings name one."""
    program = (
        "import resource\nprint(resource.getrlimit(resource.RLIMIT_CORE))\nfor limit in (0, 2):\n"
        "    try: resource.setrlimit(resource.RLIMIT_CORE, (limit, limit))\n    except ValueError: print('refused')"
    )
    assert said(jails, program) == "(1, 1)\nrefused\nrefused\n"


@as_root
def test_candidate_and_examiner_have_ids_of_their_own(jails):
    """Neither may signal, trace or read the other, wherever else they could meet."""
    tests = examined(f"import os\nown, other = os.getuid(), uid()\nassert (own, other) == ({EXAMINER_ID}, {CANDIDATE_ID})", "uid")
    assert jails.run("import os\ndef uid(): return os.getuid()", tests=tests).verdict is Verdict.PASSED


def test_who_wakes_up_interrupts_nobody(jails):
    """A crowd that wakes up every few microseconds would take time from its neighbours, and have more than its share."""
    program = (
        "import ctypes, os\nprctl = ctypes.CDLL(None).prctl\nprctl(29, 1, 0, 0, 0)\n"
        "print(prctl(30, 0, 0, 0, 0), os.sched_getscheduler(0) == os.SCHED_BATCH)\n"
        "try: os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))\nexcept OSError: print('refused')"
    )
    assert said(jails, program) == "50000 True\nrefused\n"


LISTENS = """
import os, socket, sys
for name in ("user", "net"):
    os.setns(os.open(f"/proc/{sys.argv[1]}/ns/{name}", os.O_RDONLY), 0)
ears = socket.socket(socket.AF_UNIX)
ears.bind("\\0outside")
ears.listen()
print("listening", flush=True)
sys.stdin.read()
"""
CONNECTS = "import socket\ntry: socket.socket(socket.AF_UNIX).connect('\\0outside'); print('connected')\nexcept OSError as error: print(error.errno)"


def has_landlock():
    ruleset = landlock()
    if ruleset is not None:
        os.close(ruleset)
    return ruleset is not None


@as_root
@pytest.mark.skipif(not has_landlock(), reason="this kernel has no Landlock of version 6")
def test_landlock_keeps_a_cell_to_itself(jails):
    """Somebody listens in each slot's own network namespace, where no other layer stands between the two."""
    with contextlib.ExitStack() as listeners:
        for slot in jails.pool._numbers:
            [zygote] = children_of(slot._process.pid)
            command = [sys.executable, "-c", LISTENS, str(zygote)]
            listener = listeners.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
            listeners.callback(listener.kill)
            assert listener.stdout is not None
            assert listener.stdout.readline() == b"listening\n"
        assert said(jails, CONNECTS) == f"{errno.EPERM}\n"


def test_landlock_takes_nothing_from_honest_programs(jails):
    """Every ruleset forbids moving files from folder to folder unless it says otherwise; sockets and signals within a cell work."""
    program = (
        "import os, signal, socket\nos.makedirs('a/b')\nopen('a/b/c', 'w').close()\nos.rename('a/b/c', 'c')\nos.link('c', 'a/d')\n"
        "ears = socket.socket(socket.AF_UNIX)\nears.bind('\\0own')\nears.listen()\nsocket.socket(socket.AF_UNIX).connect('\\0own')\n"
        "child = os.fork() or signal.pause()\nos.kill(child, signal.SIGTERM)\nprint(os.waitstatus_to_exitcode(os.wait()[1]))"
    )
    assert said(jails, program) == "-15\n"
