"""`--limit NAME=N`: what programs may use, for the commands that run some."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import typer

from engine.errors import BadJob
from engine.records import ENGINE_DEFAULTS, Limits

_KNOWN = ", ".join(Limits.__slots__)

LimitOption = Annotated[
    list[str] | None,
    typer.Option(
        "--limit", metavar="NAME=N", help=f"A limit of each program, instead of the engine's own. Repeatable. Names: {_KNOWN}."
    ),
]


def limits_of(options: Sequence[str] | None) -> Limits:
    """The limits that options like cpu_time_ms=5000 name, all others the engine's. Raises BadJob."""
    return replace(ENGINE_DEFAULTS, **dict(map(_named, options or ())))


def _named(option: str) -> tuple[str, int]:
    name, _, number = option.partition("=")
    if name not in Limits.__slots__:
        raise BadJob(f"--limit {option}: there is no limit {name!r}; there are {_KNOWN}")
    if not (number.isascii() and number.isdigit()) or int(number) == 0:
        raise BadJob(f"--limit {option}: give a whole number above 0, such as {name}={getattr(Limits(), name)}")
    return name, int(number)
