"""The engine a command talks to: the one at --address, or one of its own for the length of the command."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from engine.client import Client, LocalEngine

AddressOption = Annotated[
    str | None,
    typer.Option(
        "--address", metavar="ADDR", help="A running engine, host:port or unix:PATH. Without it, one is started for the call."
    ),
]


@contextmanager
def connected(address: str | None) -> Iterator[Client]:
    """A client of that engine. Raises ConnectionFailed and StartFailed."""
    if address is not None:
        with Client(address) as client:
            yield client
        return
    with LocalEngine() as engine, Client(engine.address) as client:
        yield client
