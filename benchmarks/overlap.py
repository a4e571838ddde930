"""Does a round take no longer than the slower of sampling and execution?

A paced sampler gives correct programs at a known rate without computing, as a GPU elsewhere would; the engine is the real one.
First the engine alone: everything is there at once. Then the sampler's pace is set so that sampling alone takes as long, half as
long and twice as long, and the round is measured: its wall time over the slower of the two. `--teacher` adds a paced teacher that
scores every candidate and takes as long as the engine. Where candidates come in n batches, and both take the same time, a round
takes at least 1 + 1/n of it, since the last batch runs when sampling is over.

    python -m benchmarks.overlap                          # 3000 programs, 3 repetitions
    python -m benchmarks.overlap --batch-rows 128         # candidates come in batches, as from `generate`
"""

import asyncio
import statistics
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from benchmarks import command_line
from engine.client import Problem
from trainer import family
from trainer.execution import Connect, sample_and_execute, serve
from trainer.journal import journal
from trainer.progress import Progress
from trainer.recipe import Engine
from trainer.reconnection import reconnecting
from trainer.records import Candidate, Request, write_lines
from trainer.sampling.sampler import Emit, Sampler
from trainer.tasks import read
from trainer.teachers.scorer import OpenScorer, Scorer

TARGET = 1.1
"""Where both take about equal time."""
SHARES = (0.5, 1.0, 2.0)
"""Time of sampling over time of execution."""
_TASKS = 200


class PacedSampler:
    """Every request's gold solution, the last one after `seconds`; in groups of `rows` that come at once."""

    def __init__(self, gold: Mapping[str, str], seconds: float, rows: int = 1) -> None:
        self._gold, self._seconds, self._rows = gold, seconds, rows

    def sample(self, requests: Sequence[Request], emit: Emit, stop: threading.Event) -> None:
        begun = time.monotonic()
        for number, request in enumerate(requests):
            group_ends = min(len(requests), (number // self._rows + 1) * self._rows)
            due = begun + self._seconds * group_ends / len(requests)
            if stop.wait(max(0.0, due - time.monotonic())):
                return
            code = f"{self._gold[request.task_id]}    # {number}\n"  # no two alike: equal ones are scored once
            emit(Candidate(id=request.id, task_id=request.task_id, completion=code, temperature=1.0, seed=0, tokens=1))


class PacedTeacher:
    """Eight scores at once; `seconds` is what one costs in the mean."""

    workers = 8

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds * self.workers

    async def score(self, problem: Problem, completion: str) -> float | None:
        await asyncio.sleep(self._seconds)
        return 0.5

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Scorer]:
        yield self


class Round:
    """The same requests, sampled and executed in one way or another, as a stage does it: with a journal. Gives seconds."""

    def __init__(self, problems: Mapping[str, Problem], programs: int, connect: Connect, folder: Path) -> None:
        self._problems, self._connect, self._folder = problems, connect, folder
        self.gold = {name: problem.gold or "" for name, problem in problems.items()}
        names = list(problems)
        chosen = [names[number % len(names)] for number in range(programs)]
        self.requests = [
            Request(id=f"{n}", task_id=name, prompt=problems[name].prompt, temperature=1.0) for n, name in enumerate(chosen)
        ]

    def run(self, sampler: Sampler, open_scorer: OpenScorer | None = None) -> float:
        path, begun = self._folder / "progress.jsonl", time.monotonic()
        with journal(path) as lines:
            outcomes = sample_and_execute(
                sampler, self.requests, self._problems, self._connect, Engine(), progress=Progress(lines), open_scorer=open_scorer
            )
        seconds = time.monotonic() - begun
        path.unlink()
        assert {outcome.verdict for outcome in outcomes} == {"passed"}
        return seconds

    def run_paced(self, seconds: float, rows: int = 1, open_scorer: OpenScorer | None = None) -> float:
        return self.run(PacedSampler(self.gold, seconds, rows), open_scorer)


@contextmanager
def opened(programs: int) -> Iterator[Round]:
    """A round of made-up tasks, on an engine of its own that is warm."""
    with tempfile.TemporaryDirectory() as folder, serve(Engine()) as connect:
        path = Path(folder) / "problems.jsonl"
        write_lines(path, family.generate({"train": _TASKS}, 0))
        as_in_runs = reconnecting(connect, Engine().retry_ms, print)
        work = Round({problem.task_id: problem for problem in read(str(path))}, programs, as_in_runs, Path(folder))
        work.run_paced(0.0)
        yield work


def main() -> int:
    """Returns the exit code: 1 where the target is missed."""
    parser = command_line("overlap", __doc__)
    parser.add_argument("--programs", type=int, default=3000)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--batch-rows", type=int, default=1, help="candidates that come at once (default 1)")
    parser.add_argument("--teacher", action="store_true", help="score every candidate as well")
    options = parser.parse_args()
    ratios: dict[float, list[float]] = {share: [] for share in SHARES}
    with opened(options.programs) as work:
        after = work.run_paced(0.0)
        for _ in range(options.repetitions):
            for share in SHARES:
                alone = after
                teacher = PacedTeacher(alone / options.programs).opened if options.teacher else None
                together = work.run_paced(alone * share, options.batch_rows, teacher)
                after = work.run_paced(0.0)  # before and after, since other programs may have come or gone
                ratios[share].append(together / max((alone + after) / 2, alone * share))
                print(f"execution alone {alone:.2f} s, sampling {alone * share:.2f} s, together {together:.2f} s")
    found = {share: statistics.median(values) for share, values in ratios.items()}
    for share, ratio in found.items():
        spread = f"({min(ratios[share]):.3f} to {max(ratios[share]):.3f})"
        print(f"sampling takes {share:g} x execution: the round takes {ratio:.3f} x the slower of the two {spread}")
    print(f"target where they take the same: at most {TARGET}: {'met' if found[1.0] <= TARGET else 'missed'}")
    return 0 if found[1.0] <= TARGET else 1


if __name__ == "__main__":
    raise SystemExit(main())
