"""`doctor`: what this host gives, and how to mend what is missing."""

import asyncio
import dataclasses
import json
import logging
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from engine.config import EngineConfig
from engine.doctor import Finding, examine


def doctor(
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="A TOML file with settings.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One object instead of a table.")] = False,
) -> None:
    """Say what this host gives an engine, and how to mend what is missing.

    The last line is a program that really runs in a jail. The exit code is 1 where no program can run.

    \b
    python -m engine doctor
    python -m engine doctor --json
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    findings = asyncio.run(examine(EngineConfig.load(config)))
    if as_json:
        typer.echo(json.dumps({"good": _works(findings), "findings": [dataclasses.asdict(item) for item in findings]}))
    else:
        _show(findings)
    raise typer.Exit(0 if _works(findings) else 1)


def _works(findings: list[Finding]) -> bool:
    return all(item.good for item in findings if item.needed)


def _show(findings: list[Finding]) -> None:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column()
    table.add_column(overflow="fold")
    for item in findings:
        mark = "[green]good[/]" if item.good else ("[red]missing[/]" if item.needed else "[yellow]without[/]")
        cure = "" if item.good else f"\n[bold]cure:[/] {escape(item.cure)}"
        table.add_row(mark, item.name, escape(item.found) + cure)
    Console().print(table)
