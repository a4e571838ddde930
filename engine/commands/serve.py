"""`serve`: an engine as a service, in the foreground."""

import asyncio
import contextlib
import logging
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from engine.assembly import describe, open_pool
from engine.binding import check_address
from engine.client.local import READY_PREFIX
from engine.config import EngineConfig
from engine.deduplication import Deduplication
from engine.server import Stop
from engine.server import serve as serve_until_stopped

_SWITCH_S = 0.001
"""How long a thread that reads or compares much may keep the one that serves from going on; Python's own is five times that."""


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def serve(
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="A TOML file with settings of engine/config.py.")] = None,
    listen: Annotated[str | None, typer.Option(metavar="ADDR", help="host:port or unix:PATH.")] = None,
    slots: Annotated[
        int | None, typer.Option(metavar="N", help="Programs that run at once; one more than cores by default.")
    ] = None,
    log_level: Annotated[LogLevel, typer.Option(help="What is written to stderr.")] = LogLevel.INFO,
    stop_with_stdin: Annotated[bool, typer.Option("--stop-with-stdin", hidden=True)] = False,
) -> None:
    """Serve programs until SIGTERM or Ctrl-C.

    Prints one line on stdout, "ready at ADDR", once a first program has run in the jail. The first signal lets the programs under
    way finish, the second ends them. Whoever can connect can run programs: there is no authentication.

    \b
    python -m engine serve
    python -m engine serve --listen unix:/tmp/engine.sock --slots 8
    python -m engine serve --config engine.toml --log-level warning
    """
    logging.basicConfig(level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    sys.setswitchinterval(_SWITCH_S)
    asyncio.run(_serve(EngineConfig.load(config, listen=listen, slots=slots), stop_with_stdin))


async def _serve(config: EngineConfig, stop_with_stdin: bool) -> None:
    check_address(config.listen)  # before the jails, which take a second
    stop = Stop()
    stop.on_signals()
    if stop_with_stdin:
        stop.when_readable(sys.stdin.fileno())
    async with contextlib.AsyncExitStack() as opened:
        pool = await opened.enter_async_context(open_pool(config))
        observer = None
        if config.metrics:
            from engine.metrics import told  # only here: its library is a tenth of the engine's start

            observer = opened.enter_context(told(pool, config.metrics))
        await serve_until_stopped(
            Deduplication(pool, config.deduplication_bytes),
            describe(config),
            listen=config.listen,
            stop=stop,
            announce=_announce,
            stream_window=config.stream_window,
            drain_time_ms=config.drain_time_ms,
            observer=observer,
        )


def _announce(address: str) -> None:
    sys.stdout.write(f"{READY_PREFIX}{address}\n")
    sys.stdout.flush()
