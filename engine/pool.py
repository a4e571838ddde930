"""The pool: some slots, a queue in front of them, and the repair of slots that break.

    execute ──> free slot? take it : wait in line ──> run ──> give the slot to the next in line
                  queue full: Busy     │ queue time over: infrastructure error
                  draining: Draining   └ cancelled: leave the line

All decisions are made without awaiting, so that nothing changes between a look and a step. A slot runs one program at a
time. One that breaks is retired and replaced behind the scenes, with growing pauses while that fails; its program runs
once more in another slot, and only then is the infrastructure reported as the cause.
"""

import asyncio
import collections
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

from engine import execution
from engine.errors import Busy, Draining
from engine.jail.slot import Slot, SlotBroken
from engine.records import Cause, CauseKind, Job, Report, Verdict
from engine.verdict import CellFailed

_ATTEMPTS = 2
_LONGEST_PAUSE_S = 30.0
_RETRY_AFTER_MS = 200

type OpenSlot = Callable[[int], Awaitable[Slot]]

_log = logging.getLogger(__name__)


class Pool:
    """Runs jobs, each in a slot of its own. Made by `Pool.open`."""

    def __init__(self, slots: list[Slot], open_slot: OpenSlot, queue_size: int) -> None:
        self._numbers = {slot: number for number, slot in enumerate(slots)}
        self._free = collections.deque(slots)
        self._line: collections.deque[asyncio.Future[Slot]] = collections.deque()
        self._open_slot = open_slot
        self._queue_size = queue_size
        self._repairs: set[asyncio.Task[None]] = set()
        self._draining = False

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, count: int, open_slot: OpenSlot, *, queue_size: int) -> AsyncIterator["Pool"]:
        """A pool whose slots are warm; they are closed at the end. Raises JailUnavailable where one does not start."""
        slots: list[Slot] = []
        pool: Pool | None = None
        try:
            opened = await asyncio.gather(*(open_slot(number) for number in range(count)), return_exceptions=True)
            slots = [item for item in opened if isinstance(item, Slot)]
            for item in opened:
                if isinstance(item, BaseException):
                    raise item
            pool = cls(slots, open_slot, queue_size)
            yield pool
        finally:
            await asyncio.shield(_close_all(pool.retire() if pool is not None else slots))

    def retire(self) -> list[Slot]:
        """Take no more jobs and repair no more slots; returns the slots that there are."""
        self._draining = True
        for repair in self._repairs:
            repair.cancel()
        return list(self._numbers)

    async def execute(self, job: Job) -> Report:
        """What became of a job. Cancelling ends the program. Raises BadJob, Busy and Draining."""
        queued_at = time.monotonic()
        reason = ""
        for _ in range(_ATTEMPTS):
            try:
                async with asyncio.timeout(job.queue_time_ms / 1000):
                    slot = await self._take()
            except TimeoutError:
                reason = f"no slot became free within {job.queue_time_ms} ms"
                break
            waited_ms = (time.monotonic() - queued_at) * 1000
            try:
                report = await self._run(job, slot)
                return replace(report, queue_time_ms=waited_ms)
            except (SlotBroken, CellFailed) as error:
                reason = f"{type(error).__name__}: {error}"
                _log.warning("job %r: %s", job.id, reason)
        cause = Cause(kind=CauseKind.INFRASTRUCTURE, message=reason)
        waited_ms = (time.monotonic() - queued_at) * 1000
        return Report(id=job.id, verdict=Verdict.INFRASTRUCTURE_ERROR, cause=cause, queue_time_ms=waited_ms)

    async def _run(self, job: Job, slot: Slot) -> Report:
        try:
            return await execution.execute(job, slot.run)
        except CellFailed:
            slot.broken = True
            raise
        finally:
            if slot.broken:
                self._replace(slot)
            else:
                self._give_back(slot)

    async def _take(self) -> Slot:
        if self._draining:
            raise Draining
        if self._free:
            return self._free.popleft()
        if len(self._line) >= self._queue_size:
            raise Busy(retry_after_ms=_RETRY_AFTER_MS)
        place: asyncio.Future[Slot] = asyncio.get_running_loop().create_future()
        self._line.append(place)
        try:
            return await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._give_back(place.result())
            else:
                self._line.remove(place)
            raise

    def _give_back(self, slot: Slot) -> None:
        while self._line:
            place = self._line.popleft()
            if not place.done():
                place.set_result(slot)
                return
        self._free.append(slot)

    def _replace(self, slot: Slot) -> None:
        repair = asyncio.create_task(self._repair(slot, self._numbers.pop(slot)))
        self._repairs.add(repair)
        repair.add_done_callback(self._repairs.discard)

    async def _repair(self, broken: Slot, number: int) -> None:
        await broken.close()
        pause_s = 0.1
        while True:
            try:
                slot = await self._open_slot(number)
                break
            except Exception as error:  # noqa: BLE001  # whatever keeps a jail from starting may pass
                _log.error("slot %d does not start (%s), next try in %.1f s", number, error, pause_s)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        self._numbers[slot] = number
        self._give_back(slot)


async def _close_all(slots: list[Slot]) -> None:
    for slot, result in zip(slots, await asyncio.gather(*(slot.close() for slot in slots), return_exceptions=True), strict=True):
        if isinstance(result, BaseException):
            _log.error("slot %r did not close: %s", slot, result)
