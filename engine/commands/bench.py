"""`bench`: the engine against named baselines, in one run on the same programs, as ratios."""

import json
import statistics
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from engine.bench.contenders import BareFork, Contender, Engine, new_nsjail, new_python
from engine.bench.workloads import all_workloads
from engine.client import LocalEngine
from engine.config import EngineConfig


def bench(
    rounds: Annotated[int, typer.Option(min=1, help="Interleaved rounds; the median counts.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="One object instead of a table.")] = False,
) -> None:
    """Measure programs per second against a bare fork, a new python and a new nsjail each.

    Times of a shared machine mean nothing by themselves: read the ratios.
    """
    config = EngineConfig()
    results: dict[str, dict[str, float]] = {}
    with LocalEngine(slots=config.slots) as engine, new_nsjail(config) as nsjail:
        doors: list[Contender] = [Engine(engine.address, config.slots), Engine(engine.address, config.slots, unary=True)]
        everyone: list[Contender] = [BareFork(config), new_python(config), nsjail, *doors]
        for workload in all_workloads():
            contenders = everyone if workload.scripts else doors
            seconds: dict[str, list[float]] = {contender.name: [] for contender in contenders}
            for _ in range(rounds):
                for contender in contenders:
                    seconds[contender.name].append(contender.run(workload))
            results[workload.name] = {name: len(workload.jobs) / statistics.median(times) for name, times in seconds.items()}
    if as_json:
        typer.echo(json.dumps({"programs_per_second": results}))
    else:
        _show(results)


def _show(results: dict[str, dict[str, float]]) -> None:
    table = Table("workload", "who", "programs/s", "to the bare fork", box=None)
    for workload, speeds in results.items():
        for name, speed in speeds.items():
            base = speeds.get("bare fork")
            table.add_row(workload, name, f"{speed:.1f}", f"{speed / base:.2f}" if base else "")
    Console().print(table)
