"""`selftest`: hostile programs and odd but honest ones against an engine, as a table of what held."""

import json
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from engine.client import Client
from engine.commands.connecting import AddressOption, connected
from engine.errors import BadConfig
from engine.nearest import nearest
from engine.selftest.cases import Case, Finding, cases_of
from engine.selftest.lists import NAMES, read_list, read_problem
from engine.selftest.running import run_abuse, run_cases


def selftest(
    address: AddressOption = None,
    list_name: Annotated[
        Literal["forgery", "abuse", "false-alarms"] | None, typer.Option("--list", help="One list only.")
    ] = None,
    only: Annotated[str | None, typer.Option(metavar="NAME", help="One entry only.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end instead of tables.")] = False,
) -> None:
    """Run hostile and odd programs against an engine.

    Three lists: forgeries, which must never pass; abuse, which must be contained, with a healthy program behind each in every
    slot; false alarms, which must pass. The exit code is 1 where an entry did not hold, 2 where they could not be run.

    \b
    python -m engine selftest
    python -m engine selftest --address localhost:50051 --list forgery
    python -m engine selftest --only "fork bomb" --json
    """
    chosen = _chosen((list_name,) if list_name is not None else NAMES, only)
    with connected(address) as client, _progress() as progress:
        findings = {name: _run(client, name, cases, progress) for name, cases in chosen.items()}
    if as_json:
        typer.echo(json.dumps({name: _summary(found) for name, found in findings.items()}))
    else:
        _show(findings)
    raise typer.Exit(0 if all(finding.held for found in findings.values() for finding in found) else 1)


def _chosen(names: Sequence[str], only: str | None) -> dict[str, list[Case]]:
    """The cases of each list that has any. Raises BadConfig where no entry is named so."""
    problem = read_problem()
    entries = {name: read_list(name) for name in names}
    if only is not None:
        known = [title for titles in entries.values() for title in titles]
        if only not in known:
            raise BadConfig(f"tests/hostile has no entry {only!r}{nearest(only, known)}")
        entries = {name: {only: listed[only]} for name, listed in entries.items() if only in listed}
    return {name: cases_of(name, listed, problem) for name, listed in entries.items()}


def _run(client: Client, name: str, cases: list[Case], progress: Progress) -> list[Finding]:
    bar = progress.add_task(name, total=len(cases))
    found = []
    for finding in run_abuse(client, cases) if name == "abuse" else run_cases(client, cases):
        found.append(finding)
        progress.advance(bar)
    return found


def _summary(findings: Sequence[Finding]) -> dict[str, Any]:
    """What --json prints of one list."""
    return {
        "entries": len({finding.case.entry for finding in findings}),
        "programs": len(findings),
        "held": sum(finding.held for finding in findings),
        "failed": [
            {"entry": finding.case.entry, "kind": finding.case.kind, "got": finding.got, "why": finding.why}
            for finding in _failed(findings)
        ],
    }


def _failed(findings: Sequence[Finding]) -> Iterator[Finding]:
    return (finding for finding in findings if not finding.held)


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True))


def _show(findings: dict[str, list[Finding]]) -> None:
    console = Console()
    table = Table("list", "entries", "programs", "held", "failed")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, found in findings.items():
        summary = _summary(found)
        failed = len(summary["failed"])
        table.add_row(
            name, *(str(summary[key]) for key in ("entries", "programs", "held")), f"[red]{failed}[/]" if failed else "0"
        )
    console.print(table)
    for finding in (finding for found in findings.values() for finding in _failed(found)):
        console.print(f"[red]{finding.case.list}: {escape(finding.case.name)}[/]: {escape(finding.why)}")
