"""Does an engine stay as it was? Many programs through one engine, with its speed and its belongings after every tenth.

    python -m benchmarks.soak [--programs 200000]

Prints one line per tenth. A shared machine becomes slower and faster by itself in so long a time, so at the end the aged engine
and a new one run the same programs by turns. Exits with 1 where the aged one took over 5 % more CPU time per program than the
new one, or where there are more descriptors, processes, mounts or cgroups than after the first tenth, or memory grew by a tenth.
"""

import json
import statistics
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks import command_line
from benchmarks.flips import KINDS, LIMITS
from engine.bench.accounting import CpuTimes, pss_bytes, pss_of
from engine.bench.processes import descendants, groups_of
from engine.client import Client, Job, LocalEngine

SLOWER, LARGER = 1.05, 1.10
_TURNS = 7
QUICK = ("prints", "passes", "is wrong", "raises", "is no Python", "answers calls", "reads")


@dataclass(frozen=True)
class Belongings:
    """What an engine and its jails hold on to."""

    descriptors: int
    processes: int
    mounts: int
    cgroups: int
    engine_pss_bytes: int
    slots_pss_bytes: int

    @classmethod
    def of(cls, pid: int) -> "Belongings":
        """Of the engine with that process id."""
        jails = descendants(pid)
        return cls(
            descriptors=sum(len(list(Path(f"/proc/{each}/fd").iterdir())) for each in (pid, *jails)),
            processes=len(jails),
            mounts=sum(Path(f"/proc/{each}/mountinfo").read_text().count("\n") for each in (pid, *jails)),
            cgroups=len(groups_of(pid)),
            engine_pss_bytes=pss_of(pid),
            slots_pss_bytes=pss_bytes(pid),
        )


def _cpu_s(pid: int) -> float:
    """CPU time of the engine and of its jails' processes, those that are gone included."""
    used = CpuTimes.of(pid)
    return used.server + used.slots


def main() -> int:
    """Run, measure between the tenths, judge."""
    parser = command_line("soak", __doc__)
    parser.add_argument("--programs", type=int, default=200_000)
    tenth = parser.parse_args().programs // 10
    lines = []
    with LocalEngine() as engine, Client(engine.address) as client:
        pid = engine.pid
        assert pid is not None
        _run(client, 500)
        for number in range(10):
            began = time.monotonic()
            cpu_ms = _cpu_ms_per_program(engine, client, tenth)
            seconds = time.monotonic() - began
            lines.append({"programs": (number + 1) * tenth, "programs_per_second": tenth / seconds, "cpu_ms_per_program": cpu_ms})
            _disarm(client)
            lines[-1] |= asdict(Belongings.of(pid))
            print(json.dumps({name: round(value, 3) for name, value in lines[-1].items()}), flush=True)
        aged_ms, new_ms = _by_turns(engine, client, max(tenth // 10, len(QUICK)))
        print(json.dumps({"aged_cpu_ms_per_program": round(aged_ms, 3), "new_cpu_ms_per_program": round(new_ms, 3)}), flush=True)
    return _judge(lines[0], lines[-1], aged_ms, new_ms)


def _by_turns(aged: LocalEngine, client: Client, count: int) -> tuple[float, float]:
    """CPU time per program in ms of both engines, the medians of their turns."""
    found: list[tuple[float, float]] = []
    with LocalEngine() as new, Client(new.address) as new_client:
        _run(new_client, 500)
        for _ in range(_TURNS):
            found.append((_cpu_ms_per_program(aged, client, count), _cpu_ms_per_program(new, new_client, count)))
    aged_ms, new_ms = zip(*found, strict=True)
    return statistics.median(aged_ms), statistics.median(new_ms)


def _cpu_ms_per_program(engine: LocalEngine, client: Client, count: int) -> float:
    assert engine.pid is not None
    used_s = _cpu_s(engine.pid)
    _run(client, count)
    return (_cpu_s(engine.pid) - used_s) * 1000 / count


def _run(client: Client, count: int) -> None:
    kinds = [(program, tests) for name, program, tests in KINDS if name in QUICK]
    chosen = ((number, *kinds[number % len(kinds)]) for number in range(count))
    jobs = (Job(id=str(number), program=program, tests=tests, limits=LIMITS) for number, program, tests in chosen)
    answered = sum(1 for _ in client.execute_stream(jobs))
    assert answered == count


def _disarm(client: Client) -> None:
    """Leave no slot with a cell made ahead, which would count: each runs a program with limits that are new to it."""
    limits = [replace(LIMITS, cpu_time_ms=LIMITS.cpu_time_ms + 1 + number) for number in range(client.describe().slots)]
    jobs = [Job(id=str(number), program="import time; time.sleep(0.3)", limits=own) for number, own in enumerate(limits)]
    assert sum(1 for _ in client.execute_stream(jobs)) == len(jobs)


def _judge(first: dict[str, float], last: dict[str, float], aged_ms: float, new_ms: float) -> int:
    faults = []
    if aged_ms > new_ms * SLOWER:
        faults.append("it became slower")
    faults += [f"more {name}" for name in ("descriptors", "processes", "mounts", "cgroups") if last[name] > first[name]]
    faults += [f"{name} grew" for name in ("engine_pss_bytes", "slots_pss_bytes") if last[name] > first[name] * LARGER]
    print(", ".join(faults) or "it is as it was", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
