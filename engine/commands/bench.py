"""`bench`: the engine against named baselines, in one run on the same programs, as ratios."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from engine.bench.measuring import PARTS, Plan, Tell, measure
from engine.bench.plots import write_plots
from engine.bench.tables import as_object, tables
from engine.bench.workloads import WORKLOADS, available, check_workload
from engine.errors import BadConfig, CannotWrite, reason
from engine.nearest import nearest


def bench(
    rounds: Annotated[int, typer.Option(min=1, help="How often everything is measured.")] = 3,
    workload: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help=f"Only these programs: {', '.join(WORKLOADS)}. Repeatable.")
    ] = None,
    part: Annotated[list[str] | None, typer.Option(metavar="NAME", help=f"Only this: {', '.join(PARTS)}. Repeatable.")] = None,
    patience: Annotated[int, typer.Option(min=0, help="How often to repeat what other programs disturbed.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
    save: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write that object to a file as well, anew after each round.")
    ] = None,
    plots: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Write charts as SVG into a folder.")] = None,
) -> None:
    """Measure the engine against a bare fork, a new python and a new nsjail for each program.

    All contenders run the same programs on the same cores, one after the other in every round. Times of a shared machine mean
    nothing by themselves, so read the ratios: each compares two contenders within one round, and the tables show the median of
    the rounds with the lowest and the highest. What other programs disturbed is measured again, and the first table says how much
    they still took: only a quiet machine gives figures to quote.

    "bare fork" is the limit to approach: warm interpreters that fork for each program, with no isolation and no service.
    docs/performance.md says how to read the rest. HumanEval and LeetCode are measured where RRTF_DATA names a folder with
    their files. A round of everything takes about a minute on two cores. Naming a workload measures programs only.

    \b
    python -m engine bench
    python -m engine bench --rounds 1 --workload trivial
    python -m engine bench --part load --part slots --plots plots
    python -m engine bench --rounds 5 --save results.json
    """
    parts = _known_parts(part) or (("programs",) if workload else PARTS)
    names = _known_workloads(workload)
    plan = Plan(rounds=rounds, workloads=names, parts=parts, patience=patience)
    if save is not None:
        _write(save, "a", "")  # before minutes of work are lost
    with _progress() as tell:
        for results in measure(plan, tell):
            if save is not None:
                _write(save, "w", json.dumps(as_object(results), indent=1) + "\n")
            if plots is not None:
                write_plots(results, plots)
    if as_json:
        typer.echo(json.dumps(as_object(results)))
    else:
        for table in tables(results):
            Console().print(table, "")


def _known_parts(named: list[str] | None) -> tuple[str, ...]:
    for name in named or ():
        if name not in PARTS:
            raise BadConfig(f"there is no part {name!r}{nearest(name, PARTS)}")
    return tuple(named or ())


def _known_workloads(named: list[str] | None) -> list[str]:
    """Those that were named, or all that have their file: what is left out is said."""
    for name in named or ():
        check_workload(name)
    if named:
        return named
    if absent := [name for name in WORKLOADS if not available(name)]:
        where = "set RRTF_DATA to the folder that holds their files"
        typer.echo(f"left out: {' and '.join(absent)}; {where}", err=True)
    return [name for name in WORKLOADS if name not in absent]


def _write(file: Path, mode: str, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open(mode) as opened:
            opened.write(text)
    except OSError as error:
        raise CannotWrite(f"results cannot be written to {file}: {reason(error)}; choose another --save") from error


@contextmanager
def _progress() -> Iterator[Tell]:
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("starting an engine", total=None)

        def tell(what: str, done: int, total: int) -> None:
            progress.update(bar, description=what, completed=done, total=total)

        yield tell
