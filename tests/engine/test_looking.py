"""What /proc says of processes, read into buffers of fixed places; on the processes that are there while the tests run."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.jail.inside import looking
from engine.jail.inside.looking import Table
from engine.jail.inside.meter import RunDelays

WAITS = "import sys\nopen('/proc/self/comm', 'w').write(sys.argv[1])\nprint(flush=True)\nsys.stdin.read()"


@pytest.fixture
def proc():
    folder = os.open("/proc", os.O_RDONLY)
    yield folder
    os.close(folder)


@pytest.mark.parametrize("name", ["python", "a) S 1 2 (b", "12 34 56", ""])
def test_numbers_are_those_of_the_file_whatever_the_process_is_called(proc, name):
    with subprocess.Popen([sys.executable, "-c", WAITS, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        parent_and_group = int(fields[1]) + int(fields[2])
        assert dict(looking.look(proc, b"/stat", range(1, 3)))[process.pid] == parent_and_group
        process.communicate(b"")


def test_every_process_is_seen_once_in_the_order_of_its_id(proc):
    """But the first one."""
    pids = [pid for pid, _ in looking.look(proc, b"/schedstat", range(1, 2))]
    assert pids == sorted(set(pids))
    assert os.getpid() in pids
    assert 1 not in pids


def test_what_a_process_does_not_tell_is_no_number(proc):
    assert dict(looking.look(proc, b"/missing", range(1)))[os.getpid()] is None


def test_wiping_leaves_nothing_of_what_was_read(proc):
    list(looking.look(proc, b"/stat", range(1)))
    looking.wipe()
    assert not any(map(any, (looking._entries, looking._path, looking._text)))


def test_a_number_that_was_let_go_of_is_written_over():
    """Python leaves it where it was, for whoever is forked from the process to read."""
    number = int("240518168576")
    place = id(number) + ctypes.sizeof(ctypes.c_void_p) * 3
    before = ctypes.string_at(place, 8)
    del number
    looking.write_over_numbers()
    assert ctypes.string_at(place, 8) != before


def noted(table, numbers):
    """What each had before."""
    table.begin()
    before = {pid: table.exchange(pid, number) for pid, number in numbers.items()}
    table.end()
    return before


def test_a_number_is_held_against_the_last_one_of_the_same_process():
    """Of those that are new it is 0; where there is none now the last one stays."""
    table = Table()
    assert noted(table, {5: 50, 7: 70, 9: 90}) == {5: 0, 7: 0, 9: 0}
    assert noted(table, {7: None, 8: 80, 9: 91}) == {7: 70, 8: 0, 9: 90}
    assert noted(table, {7: 71, 9: 92}) == {7: 70, 9: 91}
    assert table.total() == 71 + 92
    assert table.of_the_gone == 50 + 80


def test_a_table_that_was_wiped_knows_nothing():
    table = Table()
    noted(table, {pid: pid for pid in range(2, 100)})
    noted(table, {5: 50})
    table.wipe()
    assert not any(table._last)
    assert not any(table._now)
    assert noted(table, {5: 1}) == {5: 0}
    assert table.of_the_gone == 0


def test_between_two_looks_nothing_is_looked_at(proc):
    """However little wall time is left: a program with many processes would have them looked at all the time."""
    delays = RunDelays(proc)
    left_ns = delays.wall_left_ns(0, 1_000_000, 0)
    assert left_ns == 1_000_000
    assert delays.wall_left_ns(1, 1_000_000, 0) > 0
    pause_ns = 1 + delays.wall_left_ns(1, 1_000_000, 0)
    assert delays.wall_left_ns(pause_ns - 1, 1_000_000, 0) == 1
    assert delays.wall_left_ns(2_000_000_000, 1_000_000, 0) == 1_000_000 - 2_000_000_000
