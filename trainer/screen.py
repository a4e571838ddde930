"""What a run shows while it works: bars with rates on a terminal, one line for each finished piece of work everywhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeElapsedColumn
from rich.progress import Task as Bar
from rich.text import Text

type Advance = Callable[[], None]


class Screen:
    """Writes to one console; tests give it one that keeps what it is told."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)

    def say(self, text: str) -> None:
        self.console.print(text)

    def title(self, text: str) -> None:
        self.console.print(f"\n[bold]{text}[/bold]")

    @contextmanager
    def bars(self, *wanted: tuple[str, int, str]) -> Iterator[list[Advance]]:
        """A bar for each (what is done, how many, unit); gives the functions that advance them by one."""
        columns = (TextColumn("  {task.description:<10}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeElapsedColumn())
        started, counts = time.monotonic(), [0] * len(wanted)
        with Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal) as progress:
            bars = [progress.add_task(what, total=total, unit=unit) for what, total, unit in wanted]

            def advance(number: int) -> Advance:
                def by_one() -> None:
                    counts[number] += 1
                    progress.advance(bars[number])

                return by_one

            yield [advance(number) for number in range(len(wanted))]
        seconds = time.monotonic() - started
        done = ", ".join(f"{what} {count} {unit}" for (what, _, unit), count in zip(wanted, counts, strict=True))
        self.say(f"  {done} in {seconds:.1f} s ({counts[-1] / max(seconds, 1e-9):.0f} {wanted[-1][2]}/s)")


class _Rate(ProgressColumn):
    """How many are done in a second."""

    def render(self, task: Bar) -> Text:
        rate = task.finished_speed or task.speed
        return Text(f"{rate:.0f} {task.fields['unit']}/s" if rate else "", style="progress.data.speed")
