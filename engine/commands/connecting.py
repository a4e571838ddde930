"""The engine a command talks to: the one at --address, or one of its own for the length of the command."""

import contextlib
from collections.abc import Iterator
from typing import Annotated

import typer

from engine.client import Client, LocalEngine

AddressOption = Annotated[
    str | None,
    typer.Option(
        "--address", metavar="ADDR", help="A running engine, host:port or unix:PATH. Without it, one is started for the call."
    ),
]


@contextlib.contextmanager
def connected(address: str | None) -> Iterator[Client]:
    """A client of that engine, which has answered. Raises ConnectionFailed and StartFailed."""
    with contextlib.ExitStack() as stack:
        if address is None:
            address = stack.enter_context(LocalEngine()).address
        client = stack.enter_context(Client(address))
        client.describe()
        yield client
