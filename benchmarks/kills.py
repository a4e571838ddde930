"""SIGKILL at random moments of a small run, then the same command: does every run come to the end that it would have come to?

    python -m benchmarks.kills [--kills 20] [--seed 0]

One run is left alone: it sets the end to come to and the time it takes. Then one run for each kill, with a folder of its own: it
is killed after a random part of that time, and started again. At its end

    the weights of the last model are those of the run that was left alone, bit for bit, and so are all samples and verdicts
    what had been executed before the kill stands in the end with the very CPU time it took then: it was not executed again
    the manifest of every stage that was finished before the kill is the same file

Each run is `trainer.main.main` in a process that was forked from one in which the libraries are imported already; all of them
use one engine.
"""

import contextlib
import json
import multiprocessing
import multiprocessing.context
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trainer.main
from benchmarks import command_line
from engine.client import LocalEngine
from trainer.run_folder import UNFINISHED

_SMALL = (
    "tasks.start=32",
    "tasks.train=24",
    "tasks.held_out=12",
    "model.width=32",
    "model.layers=1",
    "model.heads=2",
    "model.vocabulary_tokens=320",
    "sft.epochs=6",
    "sampling.max_response_tokens=24",
    'sampling.stop_at=["e", "a", "n"]',  # so that a model that learnt little ends before it is cut off
    "sampling.batch_rows=8",
    "training.rounds=2",
    "training.epochs=3",
    "training.batch_tasks=2",
    "run.threads=1",
    "run.deterministic=true",
    "run.checkpoint_steps=2",
)
_NAME = "small"
LAST_MODEL = "round-2/model/model.safetensors"


@dataclass(frozen=True, kw_only=True, slots=True)
class Kill:
    """One run that was killed and started again."""

    after_s: float
    stage: str
    """What was under way; empty where the run had not begun."""
    kept: int
    """Outcomes and stages that were there and had to stay as they were."""
    is_same: bool
    """Whether the end is that of the run which was left alone."""
    repeated: int
    """How many of the kept ones were made again."""


class Runs:
    """Starts runs that use the engine at an address."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._processes = multiprocessing.get_context("forkserver")
        self._processes.set_forkserver_preload(["trainer.pipeline", "trainer.report", "transformers.generation"])

    def finish(self, folder: Path) -> Path:
        """Runs the command to its end; gives the folder of the run, of which there is one."""
        process = self._start(folder)
        process.join()
        if process.exitcode != 0:
            raise RuntimeError(f"a run ended with exit code {process.exitcode}")
        [run] = folder.glob(f"{_NAME}*")
        return run

    def kill(self, folder: Path, after_s: float) -> bool:
        """Whether the run was still at work when it was killed."""
        process = self._start(folder)
        process.join(after_s)
        process.kill()
        process.join()
        return process.exitcode == -signal.SIGKILL

    def _start(self, folder: Path) -> multiprocessing.context.ForkServerProcess:
        process = self._processes.Process(target=_run, args=(settings(folder, self._address),))
        process.start()
        return process


def settings(folder: Path, address: str) -> list[str]:
    """Arguments of the command for a small run in a folder."""
    here = (f"run.folder={folder}", f"run.name={_NAME}", f"engine.address={address}")
    return [f"--set={setting}" for setting in (*here, *_SMALL)]


def _run(arguments: list[str]) -> None:
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        sys.exit(trainer.main.main(arguments))


def measure(folder: Path, address: str, kills: int, seed: int) -> list[Kill]:
    """The kills, each in a folder of its own under `folder`, with the engine at an address."""
    runs, moments = Runs(address), random.Random(seed)
    runs.finish(folder / "warm-up")  # imports the libraries, once for all
    started = time.monotonic()
    alone = runs.finish(folder / "alone")
    seconds = time.monotonic() - started
    return [_kill(runs, folder / f"kill-{number}", alone, moments.uniform(0, seconds), moments) for number in range(kills)]


def _kill(runs: Runs, folder: Path, alone: Path, after_s: float, moments: random.Random) -> Kill:
    while not runs.kill(folder, after_s):  # it had finished: this time it was quicker
        shutil.rmtree(folder)
        after_s = moments.uniform(0, after_s)
    under_way = sorted(str(path.parent.relative_to(folder / _NAME)) for path in folder.glob(f"{_NAME}/**/{UNFINISHED}"))
    outcomes, manifests = _outcomes(folder), _manifests(folder / _NAME)
    run = runs.finish(folder)
    after = _manifests(run)
    lines = {line for path in run.glob("**/*.jsonl") for line in path.read_text(encoding="utf-8").splitlines()}
    repeated = [stage for stage in manifests if after.get(stage) != manifests[stage]] + [o for o in outcomes if o not in lines]
    return Kill(
        after_s=round(after_s, 2),
        stage=", ".join(name.removesuffix(".partial") for name in under_way),
        kept=len(outcomes) + len(manifests),
        is_same=_end(run) == _end(alone),
        repeated=len(repeated),
    )


def _outcomes(folder: Path) -> list[str]:
    """The outcomes in the journals, as they are to stand in the end. A torn last line is none."""
    journals = [*folder.glob(f"{_NAME}/**/progress.jsonl"), *folder.glob(f"{_NAME}/**/{UNFINISHED}/gold.jsonl")]
    lines = [line for path in journals for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
    executed = [content["executed"] for line in lines if "executed" in (content := json.loads(line))]
    return [json.dumps(outcome, ensure_ascii=False) for outcome in executed]


def _manifests(run: Path) -> dict[str, tuple[int, int]]:
    """Of finished stages: which file it is, and when it was written."""
    found = {path.parent: path.stat() for path in run.glob("**/manifest.json") if not path.parent.name.endswith(".partial")}
    return {str(stage.relative_to(run)): (stat.st_ino, stat.st_mtime_ns) for stage, stat in found.items()}


def _end(run: Path) -> list[Any]:
    """What two runs have to have in common: the weights, the samples, the verdicts."""
    paths = sorted(run.glob("*/*/outcomes.jsonl"))
    lines = [json.loads(line) for path in paths for line in path.read_text(encoding="utf-8").splitlines()]
    return [(run / LAST_MODEL).read_bytes(), *([line["candidate"], line["verdict"]] for line in lines)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 1 where a run came to another end, or repeated what was done."""
    parser = command_line("kills", __doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="kills-") as folder, LocalEngine() as engine:
        kills = measure(Path(folder), engine.address, options.kills, options.seed)
    for kill in kills:
        end = "the same end" if kill.is_same else "ANOTHER END"
        print(
            f"killed after {kill.after_s:5.1f} s in {kill.stage or 'no stage':24} {end}, {kill.repeated} of {kill.kept} repeated"
        )
    good = [kill for kill in kills if kill.is_same and not kill.repeated]
    print(f"{len(good)} of {len(kills)} runs came to the end that they would have come to, and repeated nothing")
    return 0 if len(good) == len(kills) else 1


if __name__ == "__main__":
    sys.exit(main())
