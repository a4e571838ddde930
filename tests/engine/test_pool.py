"""The pool: who gets a slot and when, and what becomes of jobs and slots when a slot breaks. The slots are fakes that obey."""

import asyncio
import contextlib
import marshal
import socket
from typing import Any

import pytest

from engine import orders
from engine.assembly import nsjail_path
from engine.config import EngineConfig
from engine.errors import Busy, Draining, JailUnavailable
from engine.jail.inside.messages import CANCEL, PROCESS
from engine.jail.policy import Interpreter
from engine.jail.slot import Slot, SlotBroken, SlotSettings
from engine.pool import Counts, Pool
from engine.records import CauseKind, Job, Limits, StdioTest, StdioTests, Verdict
from tests.engine.accounts import account

SLEEPS = "import time; time.sleep(60)"
EXITS = "raise SystemExit(3)"
BREAKS = "break the slot"
BREAKS_LATER = "break the slot later"
VANISHES = "let the cell fail"


def program_of(order):
    return marshal.loads(order.work)["source"].decode()


class FakeSlot:
    """Takes its orders from the program's text: SLEEPS until it is released or taken back, BREAKS at once or later,
    VANISHES, or ends."""

    def __init__(self, number=0, factory=None):
        self.number = number
        self.broken = False
        self.closed = 0
        self._factory = factory or Factory()

    async def run(self, order):
        program = program_of(order)
        if self.closed:
            raise SlotBroken("closed")
        self._factory.ran.append((program, self))
        self._factory.changed()
        if program in (SLEEPS, BREAKS_LATER):
            await self._factory.released.wait()
        if program.startswith(BREAKS):
            self.broken = True
            raise SlotBroken("as ordered")
        if program == VANISHES:
            return account(candidate={"entered_ns": 0, "status": 99})
        return account(candidate={"status": 3 if program == EXITS else 0})

    async def close(self):
        assert not self.closed, "closed twice"
        self.closed += 1
        self._factory.changed()
        await self._factory.may_close.wait()
        if self._factory.close_fails:
            raise OSError("the group is not empty")


class Factory:
    """Opens fake slots, as often as it is told to fail not."""

    def __init__(self):
        self.slots = []
        self.ran = []
        self.pauses = []
        self.failures = 0
        self.close_fails = False
        self.released = asyncio.Event()
        self.may_open = asyncio.Event()
        self.may_close = asyncio.Event()
        self.may_open.set()
        self.may_close.set()
        self._changed = asyncio.Event()

    async def open_slot(self, number):
        await self.may_open.wait()
        if self.failures:
            self.failures -= 1
            raise JailUnavailable("not now")
        self.slots.append(FakeSlot(number, self))
        self.changed()
        return self.slots[-1]

    async def sleep(self, seconds):
        """A pause that is noted and not made."""
        self.pauses.append(seconds)
        await asyncio.sleep(0)

    def pool(self, count=1, queue_size=10, **settings):
        return Pool.open(count, self.open_slot, queue_size=queue_size, sleep=self.sleep, **settings)

    def changed(self):
        self._changed.set()

    async def until(self, condition):
        while not condition():
            self._changed.clear()
            await self._changed.wait()


@pytest.fixture
async def factory():
    return Factory()


def job(program="pass", **fields):
    return Job(**{"id": program, "program": program, "limits": Limits()} | fields)


async def settle():
    """Let everything that can happen now happen."""
    for _ in range(20):
        await asyncio.sleep(0)


async def in_line(pool, *jobs):
    """Tasks for jobs that wait, in this order."""
    tasks = []
    for each in jobs:
        tasks.append(asyncio.create_task(pool.execute(each)))
        await settle()
    return tasks


async def test_as_many_programs_run_at_once_as_there_are_slots(factory):
    async with factory.pool(count=3) as pool:
        tasks = await in_line(pool, *[job(SLEEPS, id=str(n)) for n in range(5)])
        assert len(factory.ran) == 3
        assert len({slot for _, slot in factory.ran}) == 3
        factory.released.set()
        reports = await asyncio.gather(*tasks)
    assert [report.id for report in reports] == ["0", "1", "2", "3", "4"]


async def test_the_line_is_served_in_order(factory):
    async with factory.pool() as pool:
        tasks = await in_line(pool, job(SLEEPS), job("a"), job("b"), job("c"))
        factory.released.set()
        await asyncio.gather(*tasks)
    assert [program for program, _ in factory.ran] == [SLEEPS, "a", "b", "c"]


async def test_clients_take_turns_in_the_line(factory):
    """One job of a client that came last runs before the second one of a client that came first."""
    async with factory.pool() as pool:
        running = await in_line(pool, job(SLEEPS))
        waiting = []
        for program, client in (("a1", "a"), ("a2", "a"), ("b1", "b")):
            waiting.append(asyncio.create_task(pool.execute(job(program), client)))
            await settle()
        factory.released.set()
        await asyncio.gather(*running, *waiting)
    assert [program for program, _ in factory.ran] == [SLEEPS, "a1", "b1", "a2"]


async def test_a_line_that_is_full_is_busy_and_says_when_to_come_back(factory):
    async with factory.pool(queue_size=1) as pool:
        tasks = await in_line(pool, job(SLEEPS), job("a"))
        with pytest.raises(Busy) as refused:
            await pool.execute(job("b"))
        assert refused.value.retry_after_ms > 0
        factory.released.set()
        await asyncio.gather(*tasks)
        assert (await pool.execute(job("b"))).verdict is Verdict.FINISHED


async def test_who_has_no_place_in_a_full_line_gets_one(factory):
    """Else a client that fills the line, and sees first when it is full no more, would keep all others out. It ends at twice."""
    async with factory.pool(queue_size=2) as pool:
        tasks = await in_line(pool, job(SLEEPS))
        for program, client in (("a1", "a"), ("a2", "a"), ("b1", "b"), ("c1", "c")):
            tasks.append(asyncio.create_task(pool.execute(job(program), client)))
            await settle()
        for client in ("a", "b", "d"):
            with pytest.raises(Busy):
                await pool.execute(job("refused"), client)
        factory.released.set()
        await asyncio.gather(*tasks)
    assert [program for program, _ in factory.ran] == [SLEEPS, "a1", "b1", "c1", "a2"]


async def test_a_job_of_many_tests_lets_others_in_between(factory):
    """Those of other clients, one a turn; before its own client's other jobs it comes to its end."""
    tests = StdioTests(tests=(StdioTest(expected_stdout=b""),) * 4)
    async with factory.pool(turn_s=0) as pool:
        tasks = await in_line(pool, job(SLEEPS))
        for program, client, kind in (("long", "a", tests), ("a2", "a", None), ("b1", "b", None), ("b2", "b", None)):
            tasks.append(asyncio.create_task(pool.execute(job(program, tests=kind), client)))
            await settle()
        factory.released.set()
        await asyncio.gather(*tasks)
    assert [program for program, _ in factory.ran] == [SLEEPS, "long", "b1", "long", "b2", "long", "long", "a2"]


async def test_a_job_that_is_cancelled_between_two_tests_leaves_the_line(factory):
    """It holds no slot then, so none is given back twice."""
    tests = StdioTests(tests=(StdioTest(expected_stdout=b""),) * 2)
    async with factory.pool(turn_s=0) as pool:
        [first] = await in_line(pool, job(SLEEPS))
        long = asyncio.create_task(pool.execute(job("long", tests=tests), "a"))
        await settle()
        other = asyncio.create_task(pool.execute(job(SLEEPS), "b"))
        await settle()
        factory.released.set()
        factory.released.clear()
        await first
        await settle()
        assert [program for program, _ in factory.ran] == [SLEEPS, "long", SLEEPS]
        assert long.cancel()
        await settle()
        assert pool.waiting == 0
        factory.released.set()
        await other
        assert len(pool._free) == 1


async def test_running_are_the_jobs_that_have_a_slot(factory):
    """Neither those in line, nor those whose slot is under repair, nor slots that are free."""
    async with factory.pool(2) as pool:
        assert pool.running == 0
        running = await in_line(pool, job(SLEEPS), job(SLEEPS), job("waits"))
        assert (pool.running, pool.waiting) == (2, 1)
        factory.released.set()
        await asyncio.gather(*running)
        assert pool.running == 0
        factory.may_open.clear()
        broken = await in_line(pool, job(BREAKS))
        assert (pool.running, pool.slots) == (0, 0)
        factory.may_open.set()
        await asyncio.gather(*broken)
        assert pool.running == 0


async def test_time_in_the_line_has_a_limit_that_says_nothing_of_the_program(factory):
    async with factory.pool() as pool:
        [running] = await in_line(pool, job(SLEEPS))
        report = await pool.execute(job("late", queue_time_ms=1))
        assert (report.id, report.verdict, report.cause.kind) == ("late", Verdict.INFRASTRUCTURE_ERROR, CauseKind.INFRASTRUCTURE)
        assert "1 ms" in report.cause.message
        factory.released.set()
        assert (await running).verdict is Verdict.FINISHED
        assert (await pool.execute(job("after"))).verdict is Verdict.FINISHED
    assert [program for program, _ in factory.ran] == [SLEEPS, "after"]


async def test_a_free_slot_is_taken_even_with_no_time_to_wait(factory):
    async with factory.pool() as pool:
        assert (await pool.execute(job(queue_time_ms=0))).verdict is Verdict.FINISHED


async def test_who_leaves_the_line_is_passed_over(factory):
    async with factory.pool() as pool:
        running, leaving, staying = await in_line(pool, job(SLEEPS), job("leaves"), job("stays"))
        leaving.cancel()
        factory.released.set()
        await asyncio.gather(running, staying)
        with pytest.raises(asyncio.CancelledError):
            await leaving
    assert [program for program, _ in factory.ran] == [SLEEPS, "stays"]


async def test_who_leaves_the_line_as_a_slot_becomes_free_does_not_take_it_along(factory):
    """Whichever comes first in the same turn of the loop, the slot stays in the pool."""
    async with factory.pool() as pool:
        for steps in range(6):
            factory.released.clear()
            running, leaving = await in_line(pool, job(SLEEPS), job("leaves"))
            factory.released.set()
            for _ in range(steps):
                await asyncio.sleep(0)
            leaving.cancel()
            await asyncio.gather(running, leaving, return_exceptions=True)
            assert not isinstance(running.exception(), BaseException)
            assert leaving.cancelled() or leaving.result().verdict is Verdict.FINISHED
            assert (await asyncio.wait_for(pool.execute(job("next")), 5)).verdict is Verdict.FINISHED


async def test_a_program_that_is_taken_back_frees_its_slot(factory):
    async with factory.pool() as pool:
        [running] = await in_line(pool, job(SLEEPS))
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert (await pool.execute(job())).verdict is Verdict.FINISHED
    assert len(factory.slots) == 1


@pytest.mark.parametrize("fault", [BREAKS, VANISHES])
async def test_a_program_whose_slot_breaks_runs_once_more_and_then_the_infrastructure_is_to_blame(factory, fault):
    async with factory.pool(count=2) as pool:
        report = await pool.execute(job(fault))
        assert (report.verdict, report.cause.kind) == (Verdict.INFRASTRUCTURE_ERROR, CauseKind.INFRASTRUCTURE)
        assert report.id == fault
        assert [program for program, _ in factory.ran] == [fault, fault]
        assert len({slot for _, slot in factory.ran}) == 2
        await factory.until(lambda: len(factory.slots) == 4)
        assert [slot.closed for slot in factory.slots] == [1, 1, 0, 0]
        assert sorted(slot.number for slot in factory.slots[2:]) == [0, 1]


async def test_a_program_that_broke_one_slot_can_pass_in_the_next(factory):
    """The fault was the slot's: nothing of it is seen in the report."""

    async def open_slot(number):
        slot = await factory.open_slot(number)
        if len(factory.slots) == 1:
            slot.closed = 1  # this one is dead from the start
            slot.close = lambda: asyncio.sleep(0)
        return slot

    async with Pool.open(1, open_slot, queue_size=0) as pool:
        factory.slots[0].broken = True
        assert (await pool.execute(job())).verdict is Verdict.FINISHED


async def test_who_comes_back_goes_ahead_of_a_full_line(factory):
    """It was accepted: it is not told that the engine is busy, nor made to wait for all others once more."""
    async with factory.pool(queue_size=2) as pool:
        tasks = await in_line(pool, job(BREAKS_LATER), job("a"), job("b"))
        factory.released.set()
        reports = await asyncio.gather(*tasks)
    assert [program for program, _ in factory.ran] == [BREAKS_LATER, BREAKS_LATER, "a", "b"]
    assert [report.verdict for report in reports] == [Verdict.INFRASTRUCTURE_ERROR, Verdict.FINISHED, Verdict.FINISHED]


async def test_a_slot_that_does_not_reopen_is_tried_again_with_growing_pauses(factory):
    async with factory.pool() as pool:
        factory.failures = 12
        report = await pool.execute(job(BREAKS))
        assert report.verdict is Verdict.INFRASTRUCTURE_ERROR
        assert (await pool.execute(job())).verdict is Verdict.FINISHED
    assert factory.pauses == sorted(factory.pauses)
    assert factory.pauses[:3] == [0.1, 0.2, 0.4]
    assert max(factory.pauses) == 5.0


async def test_a_slot_that_breaks_with_every_program_is_replaced_with_growing_pauses(factory):
    """The first time at once: most faults pass. A program that runs makes it as good as new."""
    async with factory.pool() as pool:
        for _ in range(3):
            assert (await pool.execute(job(BREAKS))).verdict is Verdict.INFRASTRUCTURE_ERROR
        await factory.until(lambda: len(factory.slots) == 7)
        assert factory.pauses == [0.1, 0.2, 0.4, 0.8, 1.6]
        await pool.execute(job())
        await pool.execute(job(BREAKS))
        await factory.until(lambda: len(factory.slots) == 9)
        assert factory.pauses[5:] == [0.1]


async def test_a_slot_that_broke_while_nobody_used_it_is_passed_over(factory):
    """And replaced: the program does not find out, however many there were."""
    async with factory.pool(count=2) as pool:
        for slot in factory.slots:
            slot.broken = True
        assert (await pool.execute(job())).verdict is Verdict.FINISHED
        await factory.until(lambda: len(factory.slots) == 4)
    assert [slot.closed for slot in factory.slots] == [1, 1, 1, 1]
    assert len(factory.ran) == 1
    assert pool.counts == Counts(broken_slots=2)


async def test_what_goes_wrong_is_counted(factory):
    """A program that breaks two slots, of which the first one's successor starts at the third try."""
    async with factory.pool() as pool:
        factory.failures = 2
        await pool.execute(job(BREAKS))
        await factory.until(lambda: len(factory.slots) == 3)
        assert pool.counts == Counts(broken_slots=2, failed_starts=2, second_runs=1, infrastructure_errors=1)


async def test_a_slot_that_does_not_close_is_replaced_all_the_same(factory):
    async with factory.pool() as pool:
        factory.close_fails = True
        await pool.execute(job(BREAKS))
        factory.close_fails = False
        assert (await pool.execute(job())).verdict is Verdict.FINISHED


async def test_an_engine_of_which_one_slot_does_not_start_does_not_start(factory):
    """And what did start is closed again."""
    factory.failures = 1
    with pytest.raises(JailUnavailable):
        async with factory.pool(count=3):
            raise AssertionError("it started")
    assert [slot.closed for slot in factory.slots] == [1, 1]


async def test_a_start_that_is_given_up_leaves_no_slot_behind(factory):
    """Two slots are open and the third is not when the start is cancelled."""

    async def open_slot(number):
        if number == 2:
            await asyncio.Event().wait()
        return await factory.open_slot(number)

    async def start():
        async with Pool.open(3, open_slot, queue_size=1):
            raise AssertionError("it started")

    starting = asyncio.create_task(start())
    await factory.until(lambda: len(factory.slots) == 2)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert [slot.closed for slot in factory.slots] == [1, 1]


async def test_closing_closes_every_slot_once(factory):
    async with factory.pool(count=3) as pool:
        await pool.execute(job())
    assert [slot.closed for slot in factory.slots] == [1, 1, 1]


async def test_closing_waits_for_the_repair_of_a_slot_to_leave_nothing(factory):
    """A broken slot that is being closed is closed to the end, and no new one is opened after that."""
    async with contextlib.AsyncExitStack() as stack:
        pool = await stack.enter_async_context(factory.pool(count=2))
        factory.may_close.clear()
        await pool.execute(job(BREAKS))
        await factory.until(lambda: all(slot.closed for slot in factory.slots))
        closing = asyncio.create_task(stack.aclose())
        await settle()
        assert not closing.done()
        factory.may_close.set()
        await closing
    assert [slot.closed for slot in factory.slots] == [1, 1]


async def test_closing_gives_up_opening(factory):
    async with factory.pool() as pool:
        factory.may_open.clear()
        breaking = asyncio.create_task(pool.execute(job(BREAKS)))
        await settle()
    with pytest.raises(Draining):
        await breaking
    assert [slot.closed for slot in factory.slots] == [1]


async def test_who_is_in_line_when_the_pool_closes_is_told(factory):
    async with factory.pool() as pool:
        running, waiting = await in_line(pool, job(SLEEPS), job("waits"))
    with pytest.raises(Draining):
        await asyncio.wait_for(waiting, 5)
    with pytest.raises(Draining):
        await pool.execute(job("late"))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert [slot.closed for slot in factory.slots] == [1]


async def test_a_program_under_way_when_the_pool_closes_opens_no_new_slot(factory):
    async with factory.pool() as pool:
        [running] = await in_line(pool, job(SLEEPS))
        factory.slots[0].broken = True
    factory.released.set()
    await asyncio.wait([running])
    await settle()
    assert len(factory.slots) == 1


# What the pool expects of a slot: the fake and the real one alike


@contextlib.asynccontextmanager
async def a_fake_slot():
    slot = FakeSlot()
    yield slot
    if not slot.closed:
        await slot.close()


@contextlib.asynccontextmanager
async def a_real_slot():
    settings = SlotSettings(nsjail=nsjail_path(), interpreter=Interpreter.of(EngineConfig().candidate_python))
    slot = await Slot.open(0, settings, None)
    try:
        yield slot
    finally:
        if slot._fds:
            await slot.close()


every_slot = pytest.mark.parametrize("a_slot", [a_fake_slot, pytest.param(a_real_slot, marks=pytest.mark.jail)])


def order_of(program):
    return orders.script_order(job(program), b"")


@every_slot
async def test_a_slot_gives_an_account_of_each_program(a_slot):
    async with a_slot() as slot:
        assert [(await slot.run(order_of(program))).candidate.status for program in (EXITS, "pass", EXITS)] == [3, 0, 3]
        assert not slot.broken


@every_slot
async def test_a_slot_is_free_again_when_a_run_is_cancelled(a_slot):
    """The account of the program that was taken back is not taken for that of the next one."""
    async with a_slot() as slot:
        running = asyncio.create_task(slot.run(order_of(SLEEPS)))
        await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert not slot.broken
        assert (await slot.run(order_of(EXITS))).candidate.status == 3


@every_slot
async def test_a_closed_slot_is_broken(a_slot):
    async with a_slot() as slot:
        await slot.close()
        with pytest.raises(SlotBroken):
            await slot.run(order_of("pass"))


@contextlib.contextmanager
def a_slot_and_its_zygote():
    """A slot without a process: the other end of its control socket is here."""
    ours, zygote = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    with ours, zygote:
        slot: Any = Slot(None, ours, {}, None)  # type: ignore[arg-type]
        try:
            yield slot, zygote
        finally:
            asyncio.get_running_loop().remove_reader(ours)


async def test_a_slot_that_did_not_end_a_program_is_broken():
    """The order to end it was given, and then nobody waited for it to be obeyed."""
    with a_slot_and_its_zygote() as (slot, zygote):
        running = asyncio.create_task(slot.run(order_of(SLEEPS)))
        for _ in range(2):
            await asyncio.sleep(0.01)
            running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert marshal.loads(zygote.recv(1 << 16))["kind"] == order_of(SLEEPS).kind
        assert zygote.recv(1 << 16) == CANCEL
        assert slot.broken


async def test_what_is_no_account_breaks_the_slot():
    of_no_known_reason = PROCESS.pack(1, 0, 200, 0, 0, 0)
    for answer in (b"", b"{", CANCEL, bytes(PROCESS.size - 1), of_no_known_reason):
        with a_slot_and_its_zygote() as (slot, zygote):
            zygote.send(answer) if answer else zygote.shutdown(socket.SHUT_WR)
            with pytest.raises(SlotBroken):
                await slot.run(order_of("pass"))
            assert slot.broken
