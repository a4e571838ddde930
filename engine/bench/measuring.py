"""The rounds of a benchmark: everything that was asked for is measured in every round, one after the other.

So what slows the machine for a while reaches all contenders of a round alike, and ratios within a round mean something
where times of a shared machine do not. A step during which other programs took much of the cores is done again, a few times
at most, and the least disturbed one counts: the choice looks at the others, never at the result. One engine serves all parts
that do not need one of their own kind; before the first round it runs every workload once, uncounted.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from engine.bench.accounting import Attention, CpuTimes
from engine.bench.baselines import BareFork, new_nsjail, new_python
from engine.bench.doors import Contender, Stream, doors
from engine.bench.growth import measure_engines, measure_growth, measure_slots, slot_numbers
from engine.bench.latency import measure_latency
from engine.bench.load import measure_load
from engine.bench.machine import cores, describe_machine
from engine.bench.memory import measure_memory
from engine.bench.results import Breakdown, Results, Round
from engine.bench.stages import measure_stages
from engine.bench.workloads import WORKLOADS, Workload, available, trivial, workload
from engine.client import LocalEngine
from engine.config import EngineConfig

PARTS = ("programs", "breakdown", "latency", "memory", "load", "engines", "slots", "growth")
_LOAD_S = 3.0
_LATENCY_COUNT = 200
_MAIN = "humaneval"
_QUIET = 0.1
"""The share of the cores that other programs may take; the kernel's own work counts as theirs."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to measure."""

    rounds: int = 3
    patience: int = 3
    """How often a step that other programs disturbed is done again."""
    workloads: Sequence[str] = field(default_factory=lambda: [name for name in WORKLOADS if available(name)])
    parts: Sequence[str] = PARTS


type Tell = Callable[[str, int, int], None]
"""Takes what is being measured, how many steps are done and how many there are."""


def measure(plan: Plan, tell: Tell, config: EngineConfig | None = None) -> Iterator[Results]:
    """Everything the plan names; yields all rounds so far after each. Raises EngineError, BadConfig for an unknown workload."""
    config = config or EngineConfig()
    machine = describe_machine(config)
    with _stand(config, [workload(name) for name in plan.workloads]) as stand:
        rounds, steps = [], list(stand.steps(plan.parts))
        total = plan.rounds * len(steps)
        for turn in range(plan.rounds):
            pieces = []
            for number, (title, step) in enumerate(steps):
                tell(f"round {turn + 1} of {plan.rounds}: {title}", turn * len(steps) + number, total)
                pieces.append(stand.least_disturbed(step, turn, plan.patience + 1))
            rounds.append(merged(pieces))
            yield Results(machine=machine, rounds=list(rounds))
        tell("done", total, total)


def merged(pieces: Iterable[dict[str, Any]]) -> Round:
    """One round from what its steps found; tables of the same name are joined."""
    fields: dict[str, Any] = {}
    for piece in pieces:
        for name, value in piece.items():
            if isinstance(value, dict):
                fields[name] = _joined(fields.get(name, {}), value)
            else:
                fields[name] = max(value, fields.get(name, value)) if name == "others" else value
    return Round(**fields)


def _joined(first: dict[Any, Any], second: dict[Any, Any]) -> dict[Any, Any]:
    return first | {
        name: _joined(first[name], value) if name in first and isinstance(value, dict) else value
        for name, value in second.items()
    }


@contextmanager
def _stand(config: EngineConfig, workloads: Sequence[Workload]) -> Iterator["_Stand"]:
    with ExitStack() as stack:
        engine = stack.enter_context(LocalEngine(slots=config.slots))
        nsjail = stack.enter_context(new_nsjail(config, cores()))
        yield _Stand(config, engine, workloads, nsjail)


type _Step = Callable[[int], dict[str, Any]]


class _Stand:
    """Holds what is measured. A step takes the number of its round and returns fields of a `Round`."""

    def __init__(self, config: EngineConfig, engine: LocalEngine, workloads: Sequence[Workload], nsjail: Contender) -> None:
        self._config = config
        self._engine = engine
        self._workloads = workloads
        self._bare = BareFork(config, cores(), warm_compiler=False)
        self._warm = BareFork(config, cores(), warm_compiler=True)
        self._doors = doors(engine.address, in_flight=2 * config.slots)
        self._baselines: list[Contender] = [self._bare, self._warm, new_python(config, cores()), nsjail]
        self._main = workload(_MAIN) if available(_MAIN) else trivial()

    def steps(self, parts: Sequence[str]) -> Iterator[tuple[str, _Step]]:
        """Those of the named parts, each with a title."""
        if "programs" in parts:
            for programs in self._workloads:
                contenders = [*(self._baselines if programs.scripts else []), *self._doors]
                yield f"{programs.name}, first pass", self._once(programs)
                for contender in contenders:
                    yield f"{programs.name}, {contender.name}", self._programs(programs, contender)
        single: dict[str, _Step] = {
            "breakdown": self._breakdown,
            "latency": lambda _: {"latency": measure_latency(self._engine.address, self._config, _LATENCY_COUNT)},
            "memory": lambda _: {"memory": measure_memory(self._config, self._main)},
            "load": lambda _: {"load": measure_load(self._config.slots, _LOAD_S)},
            "engines": self._engines,
            "slots": lambda _: {"slots": measure_slots(slot_numbers(cores()), self._main)},
            "growth": lambda _: {"growth": measure_growth(self._engine.address)},
        }
        yield from ((name, step) for name, step in single.items() if name in parts)

    def least_disturbed(self, step: _Step, turn: int, attempts: int) -> dict[str, Any]:
        """What a step found, with the share of the cores that other programs took meanwhile."""
        assert self._engine.pid is not None
        best: dict[str, Any] = {}
        for _ in range(attempts):
            before = Attention.now(self._engine.pid)
            found = step(turn)
            others = Attention.now(self._engine.pid).others(before, cores())
            if not best or others < best["others"]:
                best = found | {"others": others}
            if not found or others <= _QUIET:
                break
        return best if found else {}

    def _once(self, programs: Workload) -> _Step:
        """In the first round only: the engine has seen the test code before it is measured."""

        def step(turn: int) -> dict[str, Any]:
            if turn == 0:
                Stream(self._engine.address).run(programs, turn)
            return {}

        return step

    def _programs(self, programs: Workload, contender: Contender) -> _Step:
        def step(turn: int) -> dict[str, Any]:
            seconds = contender.run(programs, turn)
            speeds = {} if seconds is None else {contender.name: len(programs.jobs) / seconds}
            return {"programs_per_second": {programs.name: speeds}}

        return step

    def _breakdown(self, turn: int) -> dict[str, Any]:
        assert self._engine.pid is not None
        programs, door = self._main, Stream(self._engine.address)
        door.run(programs, turn)
        before = CpuTimes.of(self._engine.pid)
        seconds = door.run(programs, turn) or 0.0
        used = CpuTimes.of(self._engine.pid).since(before)
        self._bare.run(programs, turn)
        self._warm.run(programs, turn)
        each = 1000 / len(programs.jobs)
        stages = measure_stages(self._config, programs)
        found = Breakdown(
            client=used.client * each,
            server=used.server * each,
            orders=stages.orders * each,
            verdicts=stages.verdicts * each,
            slots=used.slots * each,
            cells=stages.cells * each,
            programs=sum(report.cpu_time_ms for report in door.reports) / len(door.reports),
            elapsed=seconds * cores() * each,
            bare_fork=self._bare.cpu_seconds * each,
            warm_fork=self._warm.cpu_seconds * each,
        )
        return {"breakdown": found}

    def _engines(self, turn: int) -> dict[str, Any]:
        used = sorted(os.sched_getaffinity(0))[:2]
        return {"engines": measure_engines(used)} if len(used) > 1 else {}
