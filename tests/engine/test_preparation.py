"""Test code is made ready once, kept while there is room, and kept only where it worked."""

import asyncio
import marshal

import pytest

from engine.errors import BadJob
from engine.jail.inside.messages import PREPARATION
from engine.jail.inside.preparing import READY, UNUSABLE
from engine.preparation import PreparedTests
from engine.records import AssertTests, StopRule
from engine.verdict import CellFailed
from tests.engine.accounts import account

FIRST_FAILURE, RUN_ALL = StopRule.FIRST_FAILURE, StopRule.RUN_ALL


def asserts(code, **fields):
    return AssertTests(**({"code": code, "entry_points": ("f", "g"), "prompt": "import math", "check": "check"} | fields))


class FakeCell:
    """Compiles nothing: what comes out is named after the code, and `ended` says otherwise."""

    def __init__(self, size=10, ended=None):
        self.orders = []
        self._size = size
        self._ended = ended

    async def run(self, order):
        self.orders.append(order)
        await asyncio.sleep(0)
        if self._ended is not None:
            return self._ended
        code = marshal.loads(order.tests)["code"]
        return account(findings=READY + code.encode().ljust(self._size, b"."))

    def prepared(self):
        return [marshal.loads(order.tests)["code"] for order in self.orders]


async def test_the_order_holds_what_preparing_needs():
    """It is an examiner's: the candidate's part is empty."""
    cell = FakeCell()
    await PreparedTests().examination(asserts("assert f(1)"), RUN_ALL, cell.run)
    (order,) = cell.orders
    assert (order.kind, order.work, order.stdin) == (PREPARATION, b"", b"")
    assert marshal.loads(order.tests) == {"prompt": "import math", "code": "assert f(1)", "check": "check", "stop": "run_all"}


async def test_an_examination_holds_what_came_out():
    """Without the mark that says that it worked, and with what else an examiner is told."""
    examination = await PreparedTests().examination(asserts("assert f(1)"), FIRST_FAILURE, FakeCell(size=12).run)
    assert marshal.loads(examination) == {
        "prepared": b"assert f(1).",
        "code": "assert f(1)",
        "entry_points": ("f", "g"),
        "check": "check",
    }


async def test_the_same_tests_are_prepared_once():
    """Equal ones, whoever made them."""
    cell, kept = FakeCell(), PreparedTests()
    first = await kept.examination(asserts("a"), FIRST_FAILURE, cell.run)
    assert await kept.examination(asserts("a"), FIRST_FAILURE, cell.run) == first
    assert cell.prepared() == ["a"]


@pytest.mark.parametrize("other", [{"code": "b"}, {"prompt": ""}, {"check": ""}, {"entry_points": ("f",)}])
async def test_other_tests_are_prepared_anew(other):
    cell, kept = FakeCell(), PreparedTests()
    one = await kept.examination(asserts("a"), FIRST_FAILURE, cell.run)
    another = await kept.examination(asserts(**({"code": "a"} | other)), FIRST_FAILURE, cell.run)
    assert len(cell.orders) == 2
    assert one != another or "prompt" in other


async def test_the_stop_rule_is_part_of_what_is_kept():
    """It is compiled into the code."""
    cell, kept = FakeCell(), PreparedTests()
    for stop in (FIRST_FAILURE, RUN_ALL, FIRST_FAILURE, RUN_ALL):
        await kept.examination(asserts("a"), stop, cell.run)
    assert [marshal.loads(order.tests)["stop"] for order in cell.orders] == ["first_failure", "run_all"]


async def test_two_that_come_at_once_agree():
    """Both may prepare; one is kept, and its room is counted once."""
    cell = FakeCell(size=1_000)
    kept = PreparedTests(most_bytes=2_500)
    one, other = await asyncio.gather(*(kept.examination(asserts("a"), FIRST_FAILURE, cell.run) for _ in range(2)))
    assert one == other
    before = len(cell.orders)
    await kept.examination(asserts("b"), FIRST_FAILURE, cell.run)
    await kept.examination(asserts("a"), FIRST_FAILURE, cell.run)
    assert len(cell.orders) == before + 1


async def test_what_was_used_last_is_kept_when_room_is_short():
    """Using is what counts, not when it was made."""
    cell, kept = FakeCell(size=1_000), PreparedTests(most_bytes=2_500)
    for code in ("a", "b", "a", "c", "a", "c"):
        await kept.examination(asserts(code), FIRST_FAILURE, cell.run)
    assert cell.prepared() == ["a", "b", "c"]
    await kept.examination(asserts("b"), FIRST_FAILURE, cell.run)
    await kept.examination(asserts("a"), FIRST_FAILURE, cell.run)
    assert cell.prepared() == ["a", "b", "c", "b", "a"]


async def test_room_is_given_back():
    """However many have come and gone, as many as fit are kept."""
    cell, kept = FakeCell(size=1_000), PreparedTests(most_bytes=2_500)
    for number in range(50):
        await kept.examination(asserts(str(number)), FIRST_FAILURE, cell.run)
    for number in (48, 49):
        await kept.examination(asserts(str(number)), FIRST_FAILURE, cell.run)
    assert len(cell.orders) == 50


async def test_what_is_larger_than_the_room_is_used_and_not_kept():
    """And the next one that fits is kept as ever."""
    large, small, kept = FakeCell(size=10_000), FakeCell(size=10), PreparedTests(most_bytes=5_000)
    for _ in range(2):
        examination = await kept.examination(asserts("large"), FIRST_FAILURE, large.run)
        assert len(marshal.loads(examination)["prepared"]) == 10_000
    for _ in range(2):
        await kept.examination(asserts("small"), FIRST_FAILURE, small.run)
    assert (len(large.orders), len(small.orders)) == (2, 1)


@pytest.mark.parametrize(
    ("ended", "message"),
    [
        (account(findings=UNUSABLE + b"SyntaxError: invalid syntax"), "the test code cannot run: SyntaxError: invalid syntax"),
        (account(findings=UNUSABLE + b"\xff"), "the test code cannot run: \ufffd"),
        (
            account(candidate={"status": -9, "killed": "cpu"}),
            "the test code cannot run: compiling it ended with cpu",
        ),
        (account(candidate={"status": -11}), "the test code cannot run: compiling it ended with exit code -11"),
        (account(), "the test code cannot run: compiling it ended with exit code 0"),
    ],
)
async def test_test_code_that_cannot_be_prepared_is_a_bad_job(ended, message):
    with pytest.raises(BadJob) as raised:
        await PreparedTests().examination(asserts("a"), FIRST_FAILURE, FakeCell(ended=ended).run)
    assert str(raised.value) == message


async def test_half_an_answer_is_none():
    """A process that did not end well may have written part of what it had."""
    ended = account(candidate={"status": -9, "killed": "wall"}, findings=READY + b"half")
    with pytest.raises(BadJob):
        await PreparedTests().examination(asserts("a"), FIRST_FAILURE, FakeCell(ended=ended).run)


@pytest.mark.parametrize(
    "facts",
    [{"candidate": {"entered_ns": 0, "status": 99}}, {"candidate": {"status": -9}, "host_out_of_memory": True}],
)
async def test_a_cell_that_broke_is_the_engines_failure(facts):
    """Even where it left something that looks like an answer. So is one that the host had no memory for."""
    ended = account(**facts, findings=READY + b"x")
    with pytest.raises(CellFailed, match="exit code"):
        await PreparedTests().examination(asserts("a"), FIRST_FAILURE, FakeCell(ended=ended).run)


@pytest.mark.parametrize(
    "ended", [account(findings=UNUSABLE + b"SyntaxError"), account(candidate={"entered_ns": 0, "status": 99})]
)
async def test_failures_are_not_kept(ended):
    """What failed is tried again, and may then work."""
    kept, well = PreparedTests(), FakeCell()
    with pytest.raises((BadJob, CellFailed)):
        await kept.examination(asserts("a"), FIRST_FAILURE, FakeCell(ended=ended).run)
    await kept.examination(asserts("a"), FIRST_FAILURE, well.run)
    await kept.examination(asserts("a"), FIRST_FAILURE, well.run)
    assert len(well.orders) == 1


async def test_what_it_was_made_from_counts_too():
    """A prompt of comments comes to nothing, and is kept all the same."""
    cell, prepared = FakeCell(), PreparedTests(most_bytes=100_000)
    for number in (1, 2, 1):
        await prepared.examination(asserts("assert f(1)", prompt=f"# {number}" + "x" * 60_000), FIRST_FAILURE, cell.run)
    assert len(cell.orders) == 3
