"""The command line of the engine. Errors of the engine's own kind become one line with the cure and exit code 2."""

import os
import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Annotated

os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # read when grpc is imported; its remarks on connections are not for users

import typer

from engine.commands.bench import bench
from engine.commands.doctor import doctor
from engine.commands.grade import grade
from engine.commands.run import run
from engine.commands.selftest import selftest
from engine.commands.serve import serve
from engine.errors import EngineError

app = typer.Typer(
    name="engine",
    help="Run generated programs in nsjail jails and learn, trustworthily and fast, what each one did.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _tell_version(wanted: bool) -> None:
    if wanted:
        typer.echo(metadata.version("rrtf"))
        raise typer.Exit


@app.callback()
def _of_all_commands(
    version: Annotated[bool, typer.Option("--version", is_eager=True, callback=_tell_version, help="Print the version.")] = False,
) -> None: ...


app.command()(serve)
app.command()(run)
app.command()(grade)
app.command()(doctor)
app.command()(selftest)
app.command()(bench)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command that the arguments name, those of the process by default. Ends in SystemExit."""
    try:
        app(args=arguments, prog_name="python -m engine")
    except EngineError as error:
        print(f"error: {error}", *getattr(error, "__notes__", ()), sep="\n", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
