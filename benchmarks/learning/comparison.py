"""Does RRTF learn more than its controls? Every objective on the same starts, samples and number of steps, seed by seed.

    python -m benchmarks.learning [--seeds 11 12 13 14 15] [--objectives rrtf sft ...] [--iterated rrtf sft ...] [--rounds 3]
                                  [--save benchmarks/baselines/learning.json] [--plots benchmarks/plots] [--folder runs/learning]

Offline is the paper's setting: the start is sampled once, on every training task. Iterated is several rounds with as many steps
in all, each on a share of the tasks and sampled from the model of the round before. The learning rate of each objective is the
best of the same few, chosen by one offline run each on a seed that is not reported; all other numbers are the recipe's defaults.
Finished stages are kept in the folder and not repeated: the same command continues. On more cores start it several times, each
with some of the seeds, and once more with all of them.
"""

import argparse
import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks import command_line
from benchmarks.learning.plot import write_plot
from benchmarks.learning.report import Result, as_json, sentences, tables
from benchmarks.learning.runs import Arm, Runs, Solved
from trainer.execution import serve
from trainer.recipe import Recipe
from trainer.run_folder import write_json

ARMS: Mapping[str, Mapping[str, Any]] = {
    "rrtf": {"name": "rrtf"},
    "rrtf-all": {"name": "rrtf", "compared": "all"},
    "rrtf-listwise": {"name": "rrtf", "form": "listwise", "rank_weight": 1.0},
    "sft": {"name": "sft"},
    "raft": {"name": "raft"},
    "ssd": {"name": "ssd"},
    "rrhf": {"name": "rrhf"},
    "dpo": {"name": "dpo"},
    "dpo-ft": {"name": "dpo", "ft_weight": 1.0},
    "grpo": {"name": "grpo"},
    "grpo-teacher": {"name": "grpo", "teacher_in_group": True},
    "rloo": {"name": "rloo"},
    "rloo-teacher": {"name": "rloo", "teacher_in_group": True},
}
OBJECTIVES = ("rrtf", "sft", "raft", "ssd", "rrhf", "dpo", "dpo-ft", "grpo", "rloo")
ITERATED = ("rrtf", "sft", "rrhf", "dpo-ft")
SEEDS = (11, 12, 13, 14, 15)
TUNING_SEED = 10
RATES = (1.5e-5, 5e-5, 1.5e-4, 5e-4, 1.5e-3, 5e-3)


def base_recipe(start: int, train: int, held_out: int) -> Recipe:
    """The embedded default with another number of tasks."""
    return Recipe.model_validate({"tasks": {"start": start, "train": train, "held_out": held_out}})


def measure(runs: Runs, options: argparse.Namespace) -> Result:
    """Everything that the options ask for, from the folder where it is there."""
    names = list(dict.fromkeys([*options.objectives, *options.iterated]))
    tuned = {name: _tune(runs, name, options) for name in names}
    rates = {name: max(found, key=found.__getitem__) for name, found in tuned.items()}
    arms = {name: Arm(name=name, objective=ARMS[name], learning_rate=rate) for name, rate in rates.items()}
    result = Result(seeds=options.seeds, tuned=tuned, rates=rates, rounds=options.rounds)
    for seed in options.seeds:
        result.start.append(_told(f"seed {seed} start", partial(runs.start, seed)))
        for name in options.objectives:
            solved = _told(f"seed {seed} offline {name}", partial(runs.offline, seed, arms[name]))
            result.offline.setdefault(name, []).append(solved)
        for name in options.iterated:
            solved = _told(f"seed {seed} iterated {name}", partial(runs.iterated, seed, arms[name], options.rounds))
            result.iterated.setdefault(name, []).append(solved)
    return result


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, save."""
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # read when grpc is imported; its remarks on connections are not for users
    options = _parser().parse_args(arguments)
    recipe = base_recipe(options.start, options.train, options.held_out)
    with serve(recipe.engine) as connect:
        result = measure(Runs(recipe, options.folder, connect), options)
    print("\n".join(["", tables(result), "", *sentences(result)]))
    if options.save:
        setting = {"seeds": options.seeds, "tuning_seed": options.tuning_seed, "recipe": recipe.model_dump(mode="json")}
        write_json(options.save, {**setting, **as_json(result)})
    if options.plots:
        print(f"plot: {write_plot(result, options.plots)}")
    return 0


def _tune(runs: Runs, name: str, options: argparse.Namespace) -> dict[float, float]:
    """Held-out pass@1 for each learning rate, on the tuning seed."""
    arms = [Arm(name=name, objective=ARMS[name], learning_rate=rate) for rate in options.rates]
    told = f"tuning {name}"
    return {
        arm.learning_rate: fmean(_told(f"{told} {arm.learning_rate:g}", partial(runs.offline, options.tuning_seed, arm)))
        for arm in arms
    }


def _told(what: str, work: Callable[[], Solved]) -> Solved:
    started = time.monotonic()
    solved = work()
    print(f"{what}: {fmean(solved):.1%} ({time.monotonic() - started:.0f} s)", flush=True)
    return solved


def _parser() -> argparse.ArgumentParser:
    parser = command_line("learning", __doc__)
    add = parser.add_argument
    add("--seeds", type=int, nargs="+", default=list(SEEDS))
    add("--objectives", nargs="+", choices=ARMS, default=list(OBJECTIVES), help="trained offline")
    add("--iterated", nargs="*", choices=ARMS, default=list(ITERATED), help="trained in rounds")
    add("--rounds", type=int, default=3, help="of the iterated ones")
    add("--rates", type=float, nargs="+", default=list(RATES), help="the learning rates to choose from")
    add("--tuning-seed", type=int, default=TUNING_SEED)
    add("--start", type=int, default=700, help="tasks of the supervised start of each seed")
    add("--train", type=int, default=1050, help="training tasks of each seed")
    add("--held-out", type=int, default=400, help="held-out tasks of each seed")
    add("--folder", type=Path, default=Path("runs/learning"), help="where finished stages are kept")
    add("--save", type=Path, help="a JSON file for the results")
    add("--plots", type=Path, help="a folder for the plot")
    return parser
