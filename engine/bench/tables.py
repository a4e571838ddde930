"""The results for people: tables, and for programs: one object."""

import dataclasses
import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rich.table import Table

from engine.bench.baselines import BARE_FORK, NEW_NSJAIL, NEW_PYTHON, SAMPLED
from engine.bench.results import Breakdown, LoadPoint, Results, Round
from engine.bench.spread import Spread, spread
from engine.bench.targets import Target, against, targets
from engine.bench.workloads import TITLES

_DISTURBED = 0.2


def as_object(results: Results) -> dict[str, Any]:
    """What --json prints and --save keeps: the targets, and every round as it was measured."""
    lines = [dataclasses.asdict(target) | {"met": target.met} for target in targets(results)]
    found: dict[str, Any] = rounded({"targets": lines, **dataclasses.asdict(results)})
    return found


def rounded(value: Any) -> Any:
    """The same with four digits of every fraction: more is noise, and makes the file large."""
    match value:
        case float():
            return float(f"{value:.4g}")
        case dict():
            return {name: rounded(inner) for name, inner in value.items()}
        case list() | tuple():
            return [rounded(inner) for inner in value]
    return value


def tables(results: Results) -> Iterator[Table]:
    """One for each part that was measured, the targets last."""
    rounds = results.rounds
    yield _conditions(results)
    if any(found.programs_per_second for found in rounds):
        yield _programs(rounds)
    if breakdowns := [found.breakdown for found in rounds if found.breakdown]:
        yield _breakdown(breakdowns, results.machine.cores)
    if any(found.latency or found.memory for found in rounds):
        yield _singles(rounds)
    if any(found.load for found in rounds):
        yield _load(rounds)
    if any(found.slots or found.growth for found in rounds):
        yield _growth(rounds)
    if measured := [target for target in targets(results) if target.measured is not None]:
        yield _targets(measured)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold", title_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", overflow="fold")
    return table


def _conditions(results: Results) -> Table:
    table, machine = _table("Conditions", "", ""), results.machine
    table.add_row("cores", f"{machine.cores} of {machine.model}")
    table.add_row(
        "kernel, Python of the engine and of programs", f"{machine.kernel}, {machine.engine_python}, {machine.candidate_python}"
    )
    others = max(found.others for found in results.rounds)
    note = "" if others < _DISTURBED else " [red](not quiet: do not quote this)[/]"
    table.add_row("rounds", str(len(results.rounds)))
    table.add_row("the most that other programs took of the cores", f"{others:.0%}{note}")
    return table


def _programs(rounds: Sequence[Round]) -> Table:
    table = _table("Programs: the median of the rounds (lowest-highest)", "", "programs/s", "to the bare fork")
    for workload in _names(rounds, lambda found: found.programs_per_second):
        table.add_row(f"[bold]{TITLES.get(workload, workload)}[/]")
        contenders = _names(rounds, lambda found, workload=workload: found.programs_per_second.get(workload, {}))  # type: ignore[misc]
        for who in contenders:
            speeds = [speed[who] for found in rounds if who in (speed := found.programs_per_second.get(workload, {}))]
            ratio = against(rounds, workload, who, BARE_FORK)
            note = f" [dim](every {SAMPLED}th process, scaled)[/]" if who in (NEW_PYTHON, NEW_NSJAIL) else ""
            table.add_row(f"  {who}{note}", spread(speeds).text(0), ratio.text() if ratio else "")
    return table


def _breakdown(found: Sequence[Breakdown], cores: int) -> Table:
    def row(title: str, read: Callable[[Breakdown], float]) -> None:
        table.add_row(title, spread(map(read, found)).text())

    table = _table("Where a program's milliseconds go (HumanEval over the stream)", "", "ms per program")
    row("CPU of the client", lambda one: one.client)
    row("CPU of the server: transport, conversion, queue", lambda one: one.server - one.orders - one.verdicts)
    row("CPU of the server: orders to the slots, accounts of them", lambda one: one.orders)
    row("CPU of the server: comparison, reports", lambda one: one.verdicts)
    row("CPU in the slots: making cells (namespaces, mounts, limits, filter)", lambda one: one.cells)
    row("CPU in the slots: the programs, as reported", lambda one: one.programs)
    row("CPU in the slots: zygotes (fork, watch, account), examiners", lambda one: one.slots - one.cells - one.programs)
    row(f"wall time x {cores} cores", lambda one: one.elapsed)
    row("... of which no core was at work for it", lambda one: one.elapsed - one.client - one.server - one.slots)
    row("the bare fork: CPU of everything", lambda one: one.bare_fork)
    row("the bare fork, compiler warm: CPU of everything", lambda one: one.warm_fork)
    return table


def _singles(rounds: Sequence[Round]) -> Table:
    table = _table("One trivial program at a time, and memory", "", "")
    if latencies := [found.latency for found in rounds if found.latency]:
        for title, values in (
            ("unary call, p50 ms", [one.p50 for one in latencies]),
            ("unary call, p90 ms", [one.p90 for one in latencies]),
            ("unary call, p99 ms", [one.p99 for one in latencies]),
            ("of the p50: in the slot, from order to end, ms", [one.slot for one in latencies]),
            ("of the p50: client, transport, server, ms", [one.p50 - one.slot for one in latencies]),
            ("one fork with pid, mount and ipc namespaces, p50 ms", [v for one in latencies if (v := one.fork_in_namespaces)]),
        ):
            table.add_row(title, spread(values).text() if values else "not possible here")
    if memories := [found.memory for found in rounds if found.memory]:
        table.add_row(
            f"idle slot, PSS in MB ({memories[0].slots} slots)", spread(one.idle_bytes / 1e6 for one in memories).text(1)
        )
        table.add_row("the same after a workload", spread(one.used_bytes / 1e6 for one in memories).text(1))
        table.add_row("the largest program of it, MB on top", spread(one.peak_bytes / 1e6 for one in memories).text(1))
    return table


def _load(rounds: Sequence[Round]) -> Table:
    columns = (
        "load",
        "offered/s",
        "done/s",
        "refused/s",
        "refusal p50 ms",
        "p99 ms",
        "wrong verdicts",
        "cores: client",
        "server",
    )
    table = _table("Load: an open loop of unary calls, the client on the same cores (medians)", *columns)
    for (factor, heeds), points in load_points(rounds).items():

        def middle(name: str, digits: int = 0, points: list[LoadPoint] = points) -> str:
            return f"{statistics.median(getattr(point, name) for point in points):.{digits}f}"

        table.add_row(
            f"{factor:g} x" if heeds else f"{factor:g} x, refusals ignored",
            *map(middle, ("offered", "done", "refused")),
            middle("refusal_p50_ms", 1),
            middle("refusal_p99_ms", 1),
            str(sum(point.wrong_verdicts for point in points)),
            middle("client_cores", 2),
            middle("server_cores", 2),
        )
    return table


def load_points(rounds: Sequence[Round]) -> dict[tuple[float, bool], list[LoadPoint]]:
    """The points of all rounds by their factor and whether the client heeds refusals."""
    points: dict[tuple[float, bool], list[LoadPoint]] = {}
    for found in rounds:
        for point in found.load:
            points.setdefault((point.factor, point.heeds), []).append(point)
    return points


def _growth(rounds: Sequence[Round]) -> Table:
    table = _table("Growth (medians)", "what grows", "size", "ms per program")
    for name, points in growth_points(rounds).items():
        for number, (size, milliseconds) in enumerate(points):
            table.add_row(name if number == 0 else "", f"{size:g}", f"{milliseconds:.2f}")
    return table


def growth_points(rounds: Sequence[Round]) -> dict[str, list[tuple[float, float]]]:
    """By what grows, slots included: size and the median over the rounds of the milliseconds per program."""
    times: dict[str, dict[float, list[float]]] = {}
    for found in rounds:
        by_slots = [(float(slots), 1000 / speed) for slots, speed in found.slots.items()]
        for name, points in {**found.growth, **({"slots": by_slots} if by_slots else {})}.items():
            for size, milliseconds in points:
                times.setdefault(name, {}).setdefault(size, []).append(milliseconds)
    return {name: [(size, statistics.median(values)) for size, values in sizes.items()] for name, sizes in times.items()}


def _targets(lines: Sequence[Target]) -> Table:
    table = _table("Targets", "", "target", "measured", "")
    for target in lines:
        assert target.measured is not None
        table.add_row(target.name, _bound(target), _shown(target.measured), _MARKS[target.met])
    return table


_MARKS = {True: "[green]met[/]", False: "[red]missed[/]", None: ""}


def _bound(target: Target) -> str:
    if target.at_least is not None:
        return f">= {target.at_least:g}"
    return f"<= {target.at_most:g}" if target.at_most is not None else ""


def _shown(measured: Spread) -> str:
    return measured.text(2 if measured.median < 10 else 1)


def _names(rounds: Sequence[Round], read: Callable[[Round], dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for found in rounds for name in read(found)))
