"""What a comparison of objectives came to, in words: tables in Markdown, sentences, and JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean
from typing import Any

from benchmarks.learning.paired import Comparison, compare, holm, mean_interval
from benchmarks.learning.runs import Solved

RRTF = "rrtf"
ALARM = 0.05
FACTOR = 1.9
"""By what the paper's method multiplied the pass@1 of its start: 62.20 / 32.93."""

type Arms = Mapping[str, Sequence[Solved]]


@dataclass(frozen=True, kw_only=True)
class Result:
    """Of every seed, in one order: which held-out tasks were solved."""

    seeds: Sequence[int]
    tuned: Mapping[str, Mapping[float, float]]
    """Pass@1 on the tuning seed by objective and learning rate."""
    rates: Mapping[str, float]
    """The rate that was chosen for each objective."""
    rounds: int
    start: list[Solved] = field(default_factory=list)
    offline: dict[str, list[Solved]] = field(default_factory=dict)
    iterated: dict[str, list[Solved]] = field(default_factory=dict)

    def kinds(self) -> dict[str, Arms]:
        """By kind of training, those that were measured."""
        kinds: dict[str, Arms] = {"offline": self.offline, f"iterated, {self.rounds} rounds": self.iterated}
        return {kind: arms for kind, arms in kinds.items() if arms}


@dataclass(frozen=True, kw_only=True)
class Lead:
    """How far RRTF is ahead of a control."""

    comparison: Comparison
    p_holm: float
    """The t-test's p-value, adjusted for the number of controls."""

    @property
    def word(self) -> str:
        """What may be said."""
        if self.p_holm >= ALARM:
            return "not told apart from"
        return "better than" if self.comparison.difference > 0 else "worse than"


def leads(arms: Arms) -> dict[str, Lead]:
    """RRTF against every other one; nothing where there is no RRTF, or one seed only."""
    if RRTF not in arms or len(arms[RRTF]) < 2:
        return {}
    found = {name: compare(arms[RRTF], other) for name, other in arms.items() if name != RRTF}
    adjusted = holm([comparison.p_t for comparison in found.values()])
    return {name: Lead(comparison=found[name], p_holm=p) for name, p in zip(found, adjusted, strict=True)}


def tables(result: Result) -> str:
    """The tuning, then for each kind of training one line for each objective."""
    rates = sorted({rate for found in result.tuned.values() for rate in found})
    lines = ["Tuning seed, pass@1 by learning rate:", ""]
    lines += _table(["objective", *(f"{rate:g}" for rate in rates)])
    lines += [_row([name, *(_chosen(result, name, rate) for rate in rates)]) for name in result.tuned]
    for kind, arms in result.kinds().items():
        columns = ["mean", "95 %", "RRTF leads by", "95 %, t", "95 %, bootstrap", "p, t", "p, Holm", "p, signs"]
        lines += ["", f"{kind.capitalize()}:", "", *_table(["objective", *(f"seed {seed}" for seed in result.seeds), *columns])]
        found = leads(arms)
        lines += [_row(["start", *_values(result.start)])]
        lines += [_row([name, *_values(solved), *(_lead(found[name]) if name in found else ())]) for name, solved in arms.items()]
    return "\n".join(lines)


def sentences(result: Result) -> list[str]:
    """What may be said of RRTF."""
    said = []
    for kind, arms in result.kinds().items():
        found = leads(arms)
        for word in ("better than", "not told apart from", "worse than"):
            if names := [name for name, lead in found.items() if lead.word == word]:
                said.append(f"{kind}: RRTF is {word} {', '.join(names)}")
    if RRTF in result.iterated:
        before, after = _mean(result.start), _mean(result.iterated[RRTF])
        said.append(f"iterated RRTF takes the start's pass@1 from {before:.1%} to {after:.1%}{_times(before, after)}")
    return said


def _times(before: float, after: float) -> str:
    """The factor, where there is one."""
    if before == 0:
        return ""
    reached = "reaches" if after >= FACTOR * before else "does not reach"
    return f", times {after / before:.2f}, which {reached} the paper's {FACTOR}"


def as_json(result: Result) -> dict[str, Any]:
    """All that was measured, by seed."""
    return {
        "tuned": {name: {f"{rate:g}": value for rate, value in found.items()} for name, found in result.tuned.items()},
        "rates": dict(result.rates),
        "start": _passes(result.start),
        "offline": {name: _passes(solved) for name, solved in result.offline.items()},
        "iterated": {name: _passes(solved) for name, solved in result.iterated.items()},
        "rrtf_leads": {
            kind: {name: {**asdict(lead.comparison), "p_holm": lead.p_holm} for name, lead in leads(arms).items()}
            for kind, arms in result.kinds().items()
        },
        "sentences": sentences(result),
    }


def _passes(solved: Sequence[Solved]) -> list[float]:
    return [fmean(tasks) for tasks in solved]


def _mean(solved: Sequence[Solved]) -> float:
    return fmean(_passes(solved))


def _values(solved: Sequence[Solved]) -> list[str]:
    passes = _passes(solved)
    cells = [*(f"{value:.1%}" for value in passes), f"{fmean(passes):.1%}"]
    return [*cells, _interval(mean_interval(passes))] if len(passes) > 1 else cells


def _lead(lead: Lead) -> list[str]:
    found = lead.comparison
    intervals = [_interval(found.interval, sign="+"), _interval(found.bootstrap_interval, sign="+")]
    return [f"{100 * found.difference:+.1f}", *intervals, f"{found.p_t:.3f}", f"{lead.p_holm:.3f}", f"{found.p_permutation:.3f}"]


def _interval(bounds: tuple[float, float], sign: str = "") -> str:
    return " to ".join(f"{100 * bound:{sign}.1f}" for bound in bounds)


def _chosen(result: Result, name: str, rate: float) -> str:
    value = result.tuned[name].get(rate)
    text = "" if value is None else f"{value:.1%}"
    return f"**{text}**" if result.rates[name] == rate else text


def _table(head: Sequence[str]) -> list[str]:
    return [_row(head), _row(["---", *["---:"] * (len(head) - 1)])]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
