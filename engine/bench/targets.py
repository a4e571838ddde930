"""What the engine should reach, and whether it did: one line for each target, computed from the rounds alone."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from engine.bench.baselines import BARE_FORK, NEW_NSJAIL, WARM_FORK
from engine.bench.doors import STREAM
from engine.bench.results import LoadPoint, Results, Round
from engine.bench.spread import Spread, ratios, slope, spread, upper_half

_MB = 1e6
_LINEAR = 1.05
"""An exponent of 1 is linear; the rest is room for noise."""
_FLAT = 0.1


@dataclass(frozen=True, kw_only=True)
class Target:
    """`measured` is None where this run did not measure it. Without a bound it is only there to be compared."""

    name: str
    measured: Spread | None
    at_least: float | None = None
    at_most: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the median is within the bound; None where nothing was measured or nothing is asked."""
        if self.measured is None or (self.at_least is None and self.at_most is None):
            return None
        above = self.at_least is None or self.measured.median >= self.at_least
        return above and (self.at_most is None or self.measured.median <= self.at_most)


def targets(results: Results) -> list[Target]:
    """All of them, in the order of the table."""
    rounds = results.rounds
    return [
        Target(
            name="HumanEval over the stream, against the bare fork",
            measured=against(rounds, "humaneval", STREAM, BARE_FORK),
            at_least=0.8,
        ),
        Target(
            name="the same, against the bare fork with its compiler warm",
            measured=against(rounds, "humaneval", STREAM, WARM_FORK),
            at_least=0.8,
        ),
        Target(
            name="the same, against a new nsjail + python each",
            measured=against(rounds, "humaneval", STREAM, NEW_NSJAIL),
            at_least=6,
        ),
        Target(
            name="50 stdin tests of one program, against a new nsjail + python per test",
            measured=against(rounds, "stdin", STREAM, NEW_NSJAIL),
            at_least=8,
        ),
        Target(
            name="a trivial program by a unary call, p50, against one fork with pid, mount and ipc namespaces",
            measured=_latency_ratio(rounds),
            at_most=3,
        ),
        Target(
            name="throughput at 8 times the load it can hold, of its peak", measured=_of(rounds, _kept_throughput), at_least=0.95
        ),
        Target(
            name="the same, from a client that ignores refusals and sends everything",
            measured=_of(rounds, lambda found: _kept_throughput(found, heeds=False)),
        ),
        Target(name="refusals there, p99 in ms", measured=_of(rounds, _refusal_ms), at_most=10),
        Target(
            name="the same, to a client that ignores them", measured=_of(rounds, lambda found: _refusal_ms(found, heeds=False))
        ),
        Target(name="verdicts changed by load", measured=_of(rounds, _wrong_verdicts), at_most=0),
        Target(name="two engines on a core each, against one on one core", measured=_of(rounds, _second_engine), at_least=1.9),
        Target(name="idle slot, PSS in MB", measured=_of(rounds, _idle_mb), at_most=20),
        *(
            Target(name=f"growth with {name}, exponent", measured=_growth(rounds, name), at_most=_LINEAR)
            for name in dict.fromkeys(name for found in rounds for name in found.growth)
        ),
        Target(
            name="time per program with slots beyond the cores, exponent",
            measured=_of(rounds, lambda found: _slots_exponent(found, results.machine.cores)),
            at_most=_FLAT,
        ),
    ]


def against(rounds: Iterable[Round], workload: str, who: str, baseline: str) -> Spread | None:
    """Programs per second of one contender as a multiple of another's, round by round."""
    pairs = [(speeds.get(who), speeds.get(baseline)) for found in rounds if (speeds := found.programs_per_second.get(workload))]
    both = [(ours, theirs) for ours, theirs in pairs if ours and theirs]
    return ratios(*zip(*both, strict=True)) if both else None


def _of(rounds: Iterable[Round], read: Callable[[Round], float | None]) -> Spread | None:
    values = [value for found in rounds if (value := read(found)) is not None]
    return spread(values) if values else None


def _latency_ratio(rounds: Iterable[Round]) -> Spread | None:
    return _of(
        rounds,
        lambda found: (
            found.latency.p50 / found.latency.fork_in_namespaces if found.latency and found.latency.fork_in_namespaces else None
        ),
    )


def _kept_throughput(found: Round, *, heeds: bool = True) -> float | None:
    """Programs per second at the highest load, of the best at any."""
    highest = _highest_load(found, heeds=heeds)
    return highest.done / max(point.done for point in found.load) if highest else None


def _refusal_ms(found: Round, *, heeds: bool = True) -> float | None:
    highest = _highest_load(found, heeds=heeds)
    return highest.refusal_p99_ms if highest else None


def _highest_load(found: Round, *, heeds: bool = True) -> LoadPoint | None:
    points = [point for point in found.load if point.heeds is heeds]
    return max(points, key=lambda point: point.factor) if points else None


def _wrong_verdicts(found: Round) -> float | None:
    return float(sum(point.wrong_verdicts for point in found.load)) if found.load else None


def _second_engine(found: Round) -> float | None:
    return found.engines[2] / found.engines[1] if len(found.engines) == 2 else None


def _idle_mb(found: Round) -> float | None:
    return found.memory.idle_bytes / _MB if found.memory else None


def _growth(rounds: Iterable[Round], name: str) -> Spread | None:
    return _of(rounds, lambda found: slope(upper_half(found.growth[name])) if name in found.growth else None)


def _slots_exponent(found: Round, cores: int) -> float | None:
    points = [(float(slots), 1 / speed) for slots, speed in found.slots.items() if slots >= cores]
    return slope(points) if len(points) > 1 else None
