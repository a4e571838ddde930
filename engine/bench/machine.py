"""What the figures were measured on, without anything that names the machine."""

import os
import platform
import re
from pathlib import Path

from engine.bench.results import Machine
from engine.config import EngineConfig
from engine.jail.policy import Interpreter


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0))


def describe_machine(config: EngineConfig) -> Machine:
    """Raises JailUnavailable where the programs' interpreter does not run."""
    model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return Machine(
        cores=cores(),
        model=model[1] if model else platform.machine(),
        memory_bytes=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        kernel=platform.release(),
        engine_python=platform.python_version(),
        candidate_python=Interpreter.of(config.candidate_python).version,
    )
