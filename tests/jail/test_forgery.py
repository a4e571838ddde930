"""What the lists of tests/hostile cannot say: what a program may know, ask for and be billed while it cheats."""

import pytest

from engine.records import Verdict
from tests.jail.conftest import examined

pytestmark = pytest.mark.jail

CALLS = examined("assert largest([1, 2, 31337]) == 31337\nassert largest([4]) == 4\n", "largest")
REPORT = (
    "import os\n"
    "fds = [fd for fd in range(3, 64) if os.path.lexists(f'/proc/self/fd/{fd}')]\n"
    "[report] = [fd for fd in fds if 'report' in os.readlink(f'/proc/self/fd/{fd}')]\n"
)
"""Where a program finds the descriptor that its results are written to."""


def test_expected_values_never_reach_the_program(jails):
    """The program prints all it can find of its memory; what is expected is not in it."""
    secret = "a-value-that-only-the-tests-know"
    program = (
        "import re, sys\ndef f(x):\n    pieces = []\n    for line in open('/proc/self/maps'):\n        m = re.match(r'(\\w+)-(\\w+) r', line)\n"
        "        if m and 'vvar' not in line and 'vsyscall' not in line:\n            with open('/proc/self/mem', 'rb') as f:\n"
        "                f.seek(int(m[1], 16))\n                try: data = f.read(int(m[2], 16) - int(m[1], 16))\n"
        "                except OSError: continue\n                pieces += re.findall(rb'a-value-' + rb'that-only[-a-z]+', data)\n"
        "    print(pieces)\n    return x\n"
    )
    tests = examined(f"for _ in range(3):\n    assert f(1) != {secret!r}\nassert f(2) == {secret!r}", "f")
    for _ in range(4):  # each slot has run these tests before when it is asked again
        report = jails.run(program, tests=tests)
        assert report.verdict is Verdict.WRONG_ANSWER, report
        assert b"that-only" not in report.stdout
        assert report.stdout.startswith(b"[]")


def test_a_program_cannot_ask_for_a_second_run(jails):
    """What cannot be judged as data is run again beside an examiner, but only where the first run made all its calls."""
    answers = "def largest(numbers): return max(numbers)"
    program = REPORT + f"if len(fds) == 1:\n    os.write(report, b'\"opaque\"\\n')\n    os._exit(0)\n{answers}"
    assert jails.run(answers, tests=CALLS).verdict is Verdict.PASSED
    report = jails.run(program, tests=CALLS)
    assert report.verdict is Verdict.RUNTIME_ERROR, report


def test_both_runs_of_a_program_are_billed(jails):
    """An object that is no data takes an examiner and a second run."""
    burn = "import time\nend = time.process_time() + 0.1\nwhile time.process_time() < end: pass\n"
    program = burn + "class Largest:\n    def __eq__(self, other): return other == 31337\ndef largest(numbers): return Largest()"
    report = jails.run(program, tests=CALLS)
    assert report.cpu_time_ms > 180, report
