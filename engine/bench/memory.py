"""What a slot takes when it is idle, after work, and at most during it."""

from engine.bench.accounting import pss_bytes
from engine.bench.doors import Stream
from engine.bench.results import Memory
from engine.bench.workloads import Workload
from engine.client import LocalEngine
from engine.config import EngineConfig


def measure_memory(config: EngineConfig, workload: Workload) -> Memory:
    """Of a fresh engine. Raises EngineError."""
    with LocalEngine(slots=config.slots) as engine:
        assert engine.pid is not None
        idle = pss_bytes(engine.pid) / config.slots
        door = Stream(engine.address)
        door.run(workload, 0)
        used = pss_bytes(engine.pid) / config.slots
        peak = max(report.peak_memory_bytes for report in door.reports)
    return Memory(slots=config.slots, idle_bytes=idle, used_bytes=used, peak_bytes=peak)
