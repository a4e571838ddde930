"""Cells that are made before there is a program for them."""

import os
import signal
import time
from dataclasses import replace

import pytest

from engine.bench.processes import children_of
from engine.config import EngineConfig
from engine.records import MIB, StdioTest, StdioTests, Verdict
from tests.jail.conftest import LIMITS, Jails, examined

pytestmark = pytest.mark.jail

ADD = examined("assert add(1, 2) == 3\nassert callable(add)", "add")
"""Needs an examiner."""


@pytest.fixture(scope="module")
def one_slot():
    opened = Jails(EngineConfig(slots=1))
    yield opened
    opened.close()


def armed(slot):
    """The cells in the only slot of this engine, as soon as there are any: the zygote makes them once it has answered."""
    [jail] = slot.pool._numbers
    for _ in range(1_000):
        if cells := [cell for zygote in children_of(jail._process.pid) for cell in children_of(zygote)]:
            return cells
        time.sleep(0.001)
    return []


def test_after_two_alike_a_cell_waits_for_the_third(one_slot):
    for _ in range(2):
        assert one_slot.run("print(1)").verdict is Verdict.FINISHED
    assert armed(one_slot)


@pytest.mark.parametrize("which", [0, 1], ids=["candidate", "examiner"])
def test_a_cell_that_is_killed_while_it_waits_is_replaced(one_slot, which):
    """Its death is nobody's verdict."""
    for _ in range(2):
        assert one_slot.run("def add(a, b): return a + b", tests=ADD).verdict is Verdict.PASSED
    os.kill(armed(one_slot)[which], signal.SIGKILL)
    assert one_slot.run("def add(a, b): return a + b", tests=ADD).verdict is Verdict.PASSED


def test_a_program_gets_its_own_limits_whatever_was_armed(one_slot):
    """Each time after two programs with more of everything."""
    more = replace(LIMITS, memory_bytes=512 * MIB, open_files=256, file_size_bytes=64 * MIB, processes=64)
    over = {
        "data = bytearray(200 << 20)": Verdict.MEMORY_LIMIT,
        "open('f', 'wb').write(bytes(9 << 20))": Verdict.FILE_SIZE_LIMIT,
        "files = [open('/dev/null') for _ in range(100)]": Verdict.OPEN_FILES_LIMIT,
    }
    for program, verdict in over.items():
        assert [one_slot.run(program, limits=more).verdict for _ in range(2)] == [Verdict.FINISHED] * 2
        assert one_slot.run(program).verdict is verdict


def test_what_is_armed_for_one_kind_does_not_run_another(one_slot):
    stdio = StdioTests(tests=(StdioTest(stdin=b"7\n", expected_stdout=b"7\n"),))
    for _ in range(2):
        for _ in range(2):
            assert one_slot.run("print(input())", tests=stdio).verdict is Verdict.PASSED
        for _ in range(2):
            assert one_slot.run("def add(a, b): return a + b", tests=ADD).verdict is Verdict.PASSED


def test_a_cell_knows_nothing_of_the_order_before_its_own(one_slot):
    """An armed one is forked from the variables of whoever carried that order out, where a length of stdin is a bound."""
    looks = """
import sys
frame, found = sys._getframe(), []
while frame := frame.f_back:
    found += [text for text in map(repr, frame.f_locals.values()) if str(7_123_456 + 1) in text]
print(*found)
"""
    for _ in range(2):
        assert one_slot.run("print(1)", stdin=bytes(7_123_457)).verdict is Verdict.FINISHED
    assert armed(one_slot)
    assert one_slot.run(looks).stdout == b"\n"
