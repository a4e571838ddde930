"""What the parts of one program's way through the engine cost, each by itself: one slot in this process, no gRPC.

jobs --orders--> slot --accounts--> verdicts        the whole way: CPU time of orders and verdicts together
                       noted accounts --> verdicts  the same jobs again: CPU time of verdicts alone
"""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

from engine import execution
from engine.assembly import opening_slots
from engine.bench.loop import run
from engine.bench.workloads import Workload
from engine.config import EngineConfig
from engine.execution import Run
from engine.jail.slot import Account, Order
from engine.preparation import PreparedTests
from engine.records import ENGINE_DEFAULTS, Job


@dataclass(frozen=True, kw_only=True)
class Stages:
    """Seconds of CPU time for a whole workload."""

    orders: float
    verdicts: float
    cells: float


def measure_stages(config: EngineConfig, workload: Workload) -> Stages:
    """In a slot of its own. Raises JailUnavailable."""
    return run(_measure(config, [_limited(job, config) for job in workload.jobs]))


def _limited(job: Job, config: EngineConfig) -> Job:
    """As it would have arrived over the wire, which there is none of here."""
    return replace(job, limits=config.default_limits) if job.limits == ENGINE_DEFAULTS else job


async def _measure(config: EngineConfig, jobs: Sequence[Job]) -> Stages:
    prepared, noted = PreparedTests(), deque[Account]()
    async with opening_slots(config) as open_slot:
        slot = await open_slot(config.slots)
        try:
            await _execute(jobs, slot.run, prepared)  # from now on the test code is ready

            async def note(order: Order) -> Account:
                noted.append(await slot.run(order))
                return noted[-1]

            whole = await _execute(jobs, note, prepared)
        finally:
            await slot.close()
    cells = sum(process.entered_ns for account in noted for process in (account.candidate, account.examiner) if process)

    async def recall(_: Order) -> Account:
        return noted.popleft()

    verdicts = await _execute(jobs, recall, prepared)
    return Stages(orders=whole - verdicts, verdicts=verdicts, cells=cells / 1e9)


async def _execute(jobs: Sequence[Job], run_order: Run, prepared: PreparedTests) -> float:
    """The CPU time of this process meanwhile, in seconds."""
    began = time.process_time()
    for job in jobs:
        await execution.execute(job, run_order, prepared)
    return time.process_time() - began
