"""The pool: some slots, a queue in front of them, and the repair of slots that break.

    execute ──> free slot? take it : wait in line ──> run ──> give the slot to the next in line
                  queue full: Busy     │ queue time over: infrastructure error
                  draining: Draining   └ cancelled: leave the line

All decisions are made without awaiting, so that nothing changes between a look and a step. A slot runs one program at a
time. One that breaks is closed and replaced behind the scenes, with growing pauses while that fails or its successors break
before they have run a program; its program runs once more in another slot, ahead of the line, and only then is the
infrastructure reported as the cause.
"""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from dataclasses import dataclass, replace

from engine import execution
from engine.errors import Busy, Draining
from engine.jail.slot import Account, Order, Slot, SlotBroken
from engine.line import Line
from engine.preparation import PreparedTests
from engine.records import Cause, CauseKind, Job, Report, Verdict
from engine.verdict import CellFailed

_ATTEMPTS = 2
_TURN_S = 1.0
"""How long a job may hold a slot while others wait; then somebody else has a turn before its next test."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S, _DOUBLINGS = 0.1, 5.0, 16
_SHORTEST_RETRY_MS, _LONGEST_RETRY_MS = 10, 30_000
_MEMORY = 0.95
"""How much of the mean time of a job is that of the jobs before the last one."""

type OpenSlot = Callable[[int], Awaitable[Slot]]
type Sleep = Callable[[float], Awaitable[None]]

_log = logging.getLogger(__name__)


@dataclass
class Counts:
    """What went wrong with slots since the pool was opened, and what became of their programs."""

    broken_slots: int = 0
    failed_starts: int = 0
    """Of slots that were to replace broken ones."""
    second_runs: int = 0
    """Of programs whose first slot broke."""
    infrastructure_errors: int = 0
    """Programs without a verdict: their second slot broke too, or none became free in time."""


class Pool:
    """Runs jobs, each in a slot of its own. Made by `Pool.open`."""

    def __init__(self, slots: dict[int, Slot], open_slot: OpenSlot, queue_size: int, turn_s: float, sleep: Sleep) -> None:
        self.counts = Counts()
        self._numbers = {slot: number for number, slot in slots.items()}
        self._breaks: Counter[int] = Counter()
        self._free = list(slots.values())
        self._line: Line[asyncio.Future[Slot]] = Line()
        self._open_slot = open_slot
        self._queue_size = queue_size
        self._turn_s = turn_s
        self._sleep = sleep
        self._repairs: set[asyncio.Task[None]] = set()
        self._prepared = PreparedTests()
        self._job_s = 0.0
        self._draining = False

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls, count: int, open_slot: OpenSlot, *, queue_size: int, turn_s: float = _TURN_S, sleep: Sleep = asyncio.sleep
    ) -> AsyncIterator["Pool"]:
        """A pool whose slots are warm; they are closed at the end. Raises JailUnavailable where one does not start."""
        slots: dict[int, Slot] = {}
        pool: Pool | None = None

        async def open_one(number: int) -> None:
            slots[number] = await open_slot(number)

        try:
            for result in await asyncio.gather(*map(open_one, range(count)), return_exceptions=True):
                if result is not None:
                    raise result
            pool = cls(slots, open_slot, queue_size, turn_s, sleep)
            yield pool
        finally:
            await asyncio.shield(pool.close() if pool is not None else _close_all(slots.values()))

    async def close(self) -> None:
        """Take no more jobs, tell those in line, end all slots and what repairs them."""
        self._draining = True
        while self._line:
            place = self._line.pop()
            if not place.done():
                place.set_exception(Draining())
        for repair in self._repairs:
            repair.cancel()
        await asyncio.gather(*self._repairs, return_exceptions=True)
        await _close_all(list(self._numbers))

    @property
    def slots(self) -> int:
        """How many slots there are at the moment, those under repair not counted."""
        return len(self._numbers)

    @property
    def running(self) -> int:
        """How many jobs have a slot."""
        free = len(self._free)
        return max(0, len(self._numbers) - free)  # who asks from another thread may see a slot that is on its way

    @property
    def waiting(self) -> int:
        """How many jobs are in line."""
        return len(self._line)

    def admit(self, client: str) -> None:
        """Raises Busy or Draining where a job of that client which came now would be refused.

        Where the line is full, who has no place in it gets one all the same, until it is twice as long: else those who have many
        would be the first to see that one became free.
        """
        if self._draining:
            raise Draining
        most = self._queue_size if self._line.holds(client) else 2 * self._queue_size
        if not self._free and len(self._line) >= most:
            raise Busy(retry_after_ms=self._line_ms())

    async def execute(self, job: Job, client: str = "") -> Report:
        """What became of a job. Cancelling ends the program; clients take turns. Raises BadJob, Busy and Draining."""
        queued_at = time.monotonic()
        reason = ""
        for attempt in range(_ATTEMPTS):
            try:
                async with asyncio.timeout(job.queue_time_ms / 1000):
                    slot = await self._take(client, ahead=attempt > 0)
            except TimeoutError:
                reason = f"no slot became free within {job.queue_time_ms} ms"
                break
            waited_ms = (time.monotonic() - queued_at) * 1000
            self.counts.second_runs += attempt
            try:
                report = await self._run(job, slot, client)
                return replace(report, queue_time_ms=waited_ms)
            except (SlotBroken, CellFailed) as error:
                reason = f"{type(error).__name__}: {error}"
                _log.warning("job %r: %s", job.id, reason)
        self.counts.infrastructure_errors += 1
        cause = Cause(kind=CauseKind.INFRASTRUCTURE, message=reason)
        waited_ms = (time.monotonic() - queued_at) * 1000
        return Report(id=job.id, verdict=Verdict.INFRASTRUCTURE_ERROR, cause=cause, queue_time_ms=waited_ms)

    async def _run(self, job: Job, slot: Slot, client: str) -> Report:
        began = time.monotonic()
        held: list[Slot] = [slot]
        try:
            report = await execution.execute(job, self._by_turns(held, client), self._prepared)
            del self._breaks[self._numbers[held[0]]]
            return report
        except CellFailed:
            held[0].broken = True
            raise
        finally:
            self._job_s = _MEMORY * self._job_s + (1 - _MEMORY) * (time.monotonic() - began)
            self._let_go(held)

    def _by_turns(self, held: list[Slot], client: str) -> execution.Run:
        """Runs orders in the slot that is held, which may be another one each time: a job of thousands of tests, each of them
        within its limits, lets others in between."""
        turn_began: float | None = None

        async def run(order: Order) -> Account:
            nonlocal turn_began
            if turn_began is not None and time.monotonic() - turn_began > self._turn_s and self._line.others_wait(client):
                self._let_go(held)
                held.append(await self._in_line(lambda place: self._line.join_first(place, client), client))
                turn_began = None
            turn_began = turn_began or time.monotonic()
            return await held[0].run(order)

        return run

    def _let_go(self, held: list[Slot]) -> None:
        """Of the slot that is held, where there is one: its job may have been cancelled in the line."""
        while held:
            slot = held.pop()
            if slot.broken:
                self._replace(slot)
            else:
                self._give_back(slot)

    async def _take(self, client: str, *, ahead: bool) -> Slot:
        """A slot. Who comes back goes ahead of the line, however long it is: that job was accepted."""
        if not ahead:
            self.admit(client)
        elif self._draining:
            raise Draining
        while self._free:
            slot = self._free.pop()  # the one used last: its memory is still in the caches
            if not slot.broken:
                return slot
            self._replace(slot)  # it went while nobody used it
        return await self._in_line(self._line.join_ahead if ahead else lambda place: self._line.join(place, client), client)

    async def _in_line(self, join: Callable[[asyncio.Future[Slot]], None], client: str) -> Slot:
        place: asyncio.Future[Slot] = asyncio.get_running_loop().create_future()
        join(place)
        try:
            return await place
        except asyncio.CancelledError:
            if not self._line.leave(place, client) and not place.cancelled() and place.exception() is None:
                self._give_back(place.result())
            raise

    def _line_ms(self) -> int:
        """How long half of the line will probably take, in ms: who is refused need not ask before."""
        expected_ms = 0.5 * len(self._line) * self._job_s * 1000 / max(1, len(self._numbers))
        return max(_SHORTEST_RETRY_MS, min(_LONGEST_RETRY_MS, round(expected_ms)))

    def _give_back(self, slot: Slot) -> None:
        while self._line:
            place = self._line.pop()
            if not place.done():
                place.set_result(slot)
                return
        self._free.append(slot)

    def _replace(self, slot: Slot) -> None:
        if self._draining:
            return  # closed with all the others
        self.counts.broken_slots += 1
        repair = asyncio.create_task(self._repair(slot, self._numbers.pop(slot)))
        self._repairs.add(repair)
        repair.add_done_callback(self._repairs.discard)

    async def _repair(self, broken: Slot, number: int) -> None:
        closing = asyncio.create_task(_close_all([broken]))
        try:
            await asyncio.shield(closing)
        finally:
            await closing  # also where the pool ends meanwhile: nothing of a slot may be left behind
        slot = await self._reopened(number)
        self._numbers[slot] = number
        self._give_back(slot)

    async def _reopened(self, number: int) -> Slot:
        """A slot of that number; the pauses grow with each one that does not start, or breaks before it has run a program."""
        while True:
            if self._breaks[number]:
                pause_s = min(_FIRST_PAUSE_S * 2 ** min(self._breaks[number] - 1, _DOUBLINGS), _LONGEST_PAUSE_S)
                _log.warning("slot %d is opened again in %.1f s", number, pause_s)
                await self._sleep(pause_s)
            self._breaks[number] += 1
            try:
                return await self._open_slot(number)
            except Exception as error:  # noqa: BLE001  # whatever keeps a jail from starting may pass
                self.counts.failed_starts += 1
                _log.error("slot %d does not start: %s", number, error)


async def _close_all(slots: Collection[Slot]) -> None:
    for slot, result in zip(slots, await asyncio.gather(*(slot.close() for slot in slots), return_exceptions=True), strict=True):
        if isinstance(result, BaseException):
            _log.error("slot %r did not close: %s", slot, result)
