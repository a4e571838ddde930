"""`grade`: samples of problems, run through an engine, as verdicts and pass@k.

    samples --jobs--> engine --reports--> tally, results file, progress bar

Everything that can be wrong with the input is found before the first program runs.
"""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from engine.client import Client
from engine.commands.connecting import AddressOption, connected
from engine.commands.fields import fields_of
from engine.commands.limits import LimitOption, limits_of
from engine.commands.results_file import ResultsFile, results_file
from engine.errors import BadJob, EngineError, ProblemError
from engine.fingerprint import fingerprint
from engine.grading import Tally
from engine.problems import Sample, gold_samples, read_problems, read_samples
from engine.records import Job, Report, Verdict

GOLD = "gold"
_TOLD = 10
"""Samples that cannot be run, of which the reason is told."""


def grade(
    problems: Annotated[Path, typer.Argument(metavar="PROBLEMS", help="JSONL or JSONL.gz with problems.")],
    samples: Annotated[str, typer.Argument(metavar="SAMPLES", help="JSONL or JSONL.gz with samples, or the word gold.")],
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write one JSON line per sample.")] = None,
    address: AddressOption = None,
    deduplicate: Annotated[
        bool, typer.Option("--deduplicate", help="Run equal samples of a problem once; for programs that do the same each time.")
    ] = False,
    limit: LimitOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end instead of a table.")] = False,
) -> None:
    """Grade samples: run each against its problem's tests.

    PROBLEMS is recognised by its fields: HumanEval, LeetCodeDataset, MBPP or stdin/stdout. A line of SAMPLES has task_id and
    either completion, which follows the prompt, or solution, a whole program. The word gold grades the problems' own solutions.

    An interrupted call leaves what it graded in FILE.part, and the same command goes on from there; what FILE holds of the same
    samples is not graded again. The exit code is 0 when
    everything was graded, 1 if the engine failed on some samples or some cannot be run, such as where test code is no Python,
    2 if nothing could be graded, 130 after Ctrl-C.

    \b
    python -m engine grade HumanEval.jsonl.gz gold
    python -m engine grade HumanEval.jsonl.gz samples.jsonl --out results.jsonl
    python -m engine grade problems.jsonl samples.jsonl.gz --address localhost:50051 --json
    """
    if samples != GOLD and not Path(samples).exists():
        raise ProblemError(f"there is no file {samples}; give a file of samples, or the word {GOLD}")
    known = read_problems(problems)
    chosen = gold_samples(known) if samples == GOLD else read_samples(samples, known)
    settings: dict[str, Any] = {"deduplicate": deduplicate, "limits": limits_of(limit)}
    jobs = {sample.id: replace(sample.job(known[sample.task_id]), **settings) for sample in chosen}
    grading = Grading({sample.id: sample for sample in chosen}, jobs)
    with results_file(out) if out else nullcontext() as results, _kept(grading, results):
        if results is not None:
            grading.resume(results)
        with connected(address) as client:
            grading.run(client)
        if results is not None:
            results.finish()
    summary = grading.summary(len(known))
    if as_json:
        typer.echo(json.dumps(summary))
    else:
        _show(grading.tally, summary)
    if failed := grading.tally.verdicts[Verdict.INFRASTRUCTURE_ERROR]:
        typer.echo(f"the engine failed on {failed} programs, which count as neither passed nor failed: see its log", err=True)
    if grading.not_runnable:
        typer.echo(_told(grading.not_runnable), err=True)
    if failed or grading.not_runnable:
        raise typer.Exit(1)


class Grading:
    """The samples of one call on their way from jobs to verdicts."""

    def __init__(self, samples: Mapping[str, Sample], jobs: Mapping[str, Job]) -> None:
        self.tally = Tally()
        self.total = len(jobs)
        self._samples = samples
        self._pending = dict(jobs)
        self._results: ResultsFile | None = None
        self.not_runnable: dict[str, BadJob] = {}
        """Samples by their id; they count as nothing and are in no results file."""
        self._resumed = 0
        self._seconds = 0.0

    def resume(self, results: ResultsFile) -> None:
        """Takes over what an earlier call has graded, and writes what follows to the same file. Raises CannotWrite."""
        results.check(self._pending.keys())
        earlier = {name: graded for name, job in self._pending.items() if (graded := results.graded(job)) is not None}
        results.begin(list(earlier))
        for name, graded in earlier.items():
            self.tally.add(self._samples[name].task_id, *graded)
            del self._pending[name]
        self._results, self._resumed = results, len(earlier)

    def run(self, client: Client) -> None:
        """Grades what is left."""
        began = time.monotonic()
        try:
            with _progress() as progress:
                bar = progress.add_task("grading", total=self.total, completed=self._resumed)
                for report in client.execute_stream(list(self._pending.values()), on_bad_job=self.not_runnable.__setitem__):
                    self._take(report)
                    progress.advance(bar)
        finally:
            self._seconds = time.monotonic() - began

    def summary(self, problems: int) -> dict[str, Any]:
        """What --json prints."""
        fresh = self.tally.programs - self._resumed
        return {
            "programs": self.tally.programs,
            "passed": self.tally.passed,
            "passed_delegated": self.tally.delegated,
            "verdicts": {verdict.value: count for verdict, count in self.tally.verdicts.most_common()},
            "pass@k": {str(k): estimate for k, estimate in self.tally.pass_at().items()},
            "problems": problems,
            "problems_graded": self.tally.tasks,
            "not_runnable": len(self.not_runnable),
            "resumed": self._resumed,
            "seconds": round(self._seconds, 3),
            "programs_per_second": round(fresh / self._seconds, 2) if fresh else 0.0,
        }

    def _take(self, report: Report) -> None:
        sample, job = self._samples[report.id], self._pending.pop(report.id)
        self.tally.add(sample.task_id, report.verdict, report.trust)
        if self._results is not None:
            line = {"task_id": sample.task_id, "number": sample.number, "passed": report.verdict is Verdict.PASSED}
            self._results.add({**line, **fields_of(report), "job_sha256": fingerprint(job)})


@contextmanager
def _kept(grading: Grading, results: ResultsFile | None) -> Iterator[None]:
    """Says what is kept where grading ends early."""
    try:
        yield
    except (KeyboardInterrupt, EngineError) as interruption:
        note = f"{grading.tally.programs} of {grading.total} programs were graded"
        if results is not None and grading.tally.programs:
            mended = "once that is mended " if isinstance(interruption, EngineError) else ""
            note += f"; they are kept in {results.part}, and {mended}the same command goes on from there"
        if isinstance(interruption, EngineError):
            if grading.tally.programs:
                interruption.add_note(note)
            raise
        typer.echo(f"interrupted: {note}", err=True)
        raise typer.Exit(130) from interruption


def _told(not_runnable: Mapping[str, BadJob]) -> str:
    first = "".join(f"\n  {error}" for error in islice(not_runnable.values(), _TOLD))
    more = f"\n  and {len(not_runnable) - _TOLD} more" if len(not_runnable) > _TOLD else ""
    return f"{len(not_runnable)} samples cannot be run as they are, and count as nothing:{first}{more}"


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f} programs/s" if task.speed else "- programs/s", style="progress.data.speed")


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True))


def _show(tally: Tally, summary: dict[str, Any]) -> None:
    table = Table("verdict", "programs", "share")
    table.columns[1].justify = table.columns[2].justify = "right"
    for verdict, count in tally.verdicts.most_common():
        table.add_row(verdict.value.replace("_", " "), str(count), f"{count / tally.programs:.1%}")
    console = Console()
    console.print(table)
    console.print(f"{tally.passed} of {tally.programs} passed, {summary['problems_graded']} of {summary['problems']} problems")
    if tally.delegated:
        console.print(
            f"{tally.delegated} of these passes rest on what objects of the programs said of themselves (docs/security.md)"
        )
    for k, estimate in summary["pass@k"].items():
        console.print(f"pass@{k}  {estimate:.2%}")
    console.print(f"{summary['seconds']:.1f} s, {summary['programs_per_second']:.1f} programs/s")
