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

from engine.config import EngineConfig
from engine.doctor import Finding, examine


def doctor(
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="A TOML file with settings of engine/config.py.")] = None,
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
    console = Console(soft_wrap=True, highlight=False)  # paths and commands stay whole, to be copied
    width = max(len(item.name) for item in findings)
    for item in findings:
        mark, colour = ("good", "green") if item.good else ("missing", "red") if item.needed else ("without", "yellow")
        console.print(f"[{colour}]{mark:<7}[/]  {item.name:<{width}}  {escape(item.found)}")
        if not item.good:
            console.print(f"{'':<{width + 11}}[bold]cure:[/] {escape(item.cure)}")
