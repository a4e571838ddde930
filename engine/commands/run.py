"""`run`: one program in a jail, as if it had been started here."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from engine.commands.connecting import AddressOption, connected
from engine.commands.fields import fields_of
from engine.commands.limits import LimitOption, limits_of
from engine.errors import BadJob, reason
from engine.records import MIB, Job, Report, Verdict


def run(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The program.")],
    language: Annotated[str, typer.Option(metavar="L", help="What the program is written in.")] = "python",
    stdin: Annotated[Path | None, typer.Option(metavar="FILE", help="What the program reads; - is this command's stdin.")] = None,
    limit: LimitOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON object instead.")] = False,
    address: AddressOption = None,
) -> None:
    """Run one program in a jail.

    Its stdout and stderr come out as they are, then one line on stderr says what became of it. The exit code is 0 if it
    ran to its end, 1 if it failed, 2 if it could not be run.

    \b
    python -m engine run program.py
    python -m engine run program.py --stdin input.txt --json
    python -m engine run program.py --limit cpu_time_ms=500 --limit processes=1
    echo 3 4 | python -m engine run sum.py --stdin - --address localhost:50051
    """
    job = Job(
        id=file.name[:80] or "program",
        program=_content(file),
        language=language,
        stdin=_content(stdin) if stdin else b"",
        limits=limits_of(limit),
    )
    with connected(address) as client:
        report = client.execute(job)
    if as_json:
        typer.echo(json.dumps(fields_of(report)))
    else:
        typer.echo(report.stdout, nl=False)
        typer.echo(report.stderr, nl=False, err=True)
        typer.echo(_summary(report), err=True)
    raise typer.Exit(0 if report.verdict is Verdict.FINISHED else 1)


def _content(path: Path) -> bytes:
    try:
        return sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise BadJob(f"cannot read {path}: {reason(error)}") from error


def _summary(report: Report) -> str:
    parts = [report.verdict.value.replace("_", " ")]
    if report.cause.message:
        parts.append(report.cause.message)
    if report.exit_code:
        parts.append(f"exit code {report.exit_code}")
    if report.stdout_truncated or report.stderr_truncated:
        parts.append("output cut off")
    parts.append(f"{report.cpu_time_ms:.0f} ms CPU")
    parts.append(f"{report.peak_memory_bytes / MIB:.1f} MiB")
    return " · ".join(parts)
