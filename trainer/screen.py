"""What a run shows while it works.

On a terminal: bars with rates, the time that is left, and how it goes; everywhere: one line for each finished piece of work.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Task as Bar
from rich.text import Text

_OF_STEP = {"loss": "loss", "rank": "rank", "ft": "ft", "norm": "gradient_norm"}


class Advance(Protocol):
    """Advances a bar by one; `note` stands behind it from then on."""

    def __call__(self, note: str = "") -> None: ...


class Screen:
    """Writes to one console; tests give it one that keeps what it is told."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)

    def say(self, text: str) -> None:
        self.console.print(text)

    def title(self, text: str) -> None:
        self.console.print(f"\n[bold]{text}[/bold]")

    @contextmanager
    def bars(self, *wanted: tuple[str, int, str], there: Sequence[int] = ()) -> Iterator[list[Advance]]:
        """A bar for each (what is done, how many, unit); gives the functions that advance them by one.

        `there` is how many of each were done before: they stand in the bar, and are no part of any rate.
        """
        before = there or [0] * len(wanted)
        counted = (TextColumn("  {task.description:<10}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeElapsedColumn())
        columns = (*counted, TextColumn("left"), TimeRemainingColumn(), TextColumn("{task.fields[note]}"))
        started, counts = time.monotonic(), [0] * len(wanted)
        with Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal) as progress:
            bars = [
                progress.add_task(what, total=total, completed=done, unit=unit, note="")
                for (what, total, unit), done in zip(wanted, before, strict=True)
            ]

            def advance(number: int) -> Advance:
                def by_one(note: str = "") -> None:
                    counts[number] += 1
                    progress.update(bars[number], advance=1, note=note or progress.tasks[number].fields["note"])

                return by_one

            yield [advance(number) for number in range(len(wanted))]
        seconds = time.monotonic() - started
        more = ["more " if done else "" for done in before]
        done = ", ".join(
            f"{what} {count} {word}{unit}" for (what, _, unit), count, word in zip(wanted, counts, more, strict=True)
        )
        self.say(f"  {done} in {seconds:.1f} s ({counts[-1] / max(seconds, 1e-9):.0f} {wanted[-1][2]}/s)")


class _Rate(ProgressColumn):
    """How many are done in a second."""

    def render(self, task: Bar) -> Text:
        rate = task.finished_speed or task.speed
        return Text(f"{rate:.0f} {task.fields['unit']}/s" if rate else "", style="progress.data.speed")


def note_of_step(step: Mapping[str, float]) -> str:
    """The losses, the norm of the gradient and the share of active pairs of one training step, as far as it has them."""
    shown = [f"{name} {step[key]:.3g}" for name, key in _OF_STEP.items() if key in step]
    active = [f"active {step['active_pairs'] / step['pairs']:.0%}"] if step.get("pairs") else []
    return ", ".join([*shown, *active])


def note_of_verdicts(verdicts: Mapping[str, int]) -> str:
    """The mix of verdicts so far, most frequent first."""
    total = max(1, sum(verdicts.values()))
    most_first = sorted(verdicts.items(), key=lambda item: -item[1])
    return ", ".join(f"{name.replace('_', ' ')} {count / total:.0%}" for name, count in most_first[:4])
