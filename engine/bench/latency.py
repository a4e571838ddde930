"""One trivial program at a time: how long an answer takes, and how long the same takes as one fork into fresh namespaces."""

import time

from engine.bench.baselines import run_beside
from engine.bench.doors import check
from engine.bench.loop import run
from engine.bench.results import Latency
from engine.bench.spread import percentile
from engine.bench.workloads import Workload, trivial
from engine.client import AsyncClient, Report
from engine.config import EngineConfig


def measure_latency(address: str, config: EngineConfig, count: int) -> Latency:
    """Unary calls to the engine at that address. Raises EngineError."""
    fork = run_beside(config, "fork_in_namespaces.py", str(count), ",".join(config.preload))
    times, reports = run(_call(address, trivial(count)))
    return Latency(
        p50=percentile(times, 0.5),
        p90=percentile(times, 0.9),
        p99=percentile(times, 0.99),
        slot=percentile((report.wall_time_ms for report in reports), 0.5),
        fork_in_namespaces=percentile(fork["ms"], 0.5) if "ms" in fork else None,
    )


async def _call(address: str, workload: Workload) -> tuple[list[float], list[Report]]:
    times, reports = [], []
    async with AsyncClient(address) as client:
        await client.describe()
        for job in workload.jobs:
            began = time.perf_counter()
            reports.append(await client.execute(job))
            times.append((time.perf_counter() - began) * 1000)
    check(workload, reports)
    return times, reports
