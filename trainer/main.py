"""The trainer's command: reads the recipe, starts or finds the engine, and runs the stages in order.

`run` is the recipe of RRTF in a dozen lines; each of its calls is a stage in trainer.pipeline. What the user can mend ends as one
line and exit code 2; Ctrl-C ends with exit code 130 and a folder from which the same command continues. SIGTERM is a Ctrl-C
with exit code 143.
"""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from trainer import first_look, recipe_file
from trainer.errors import TrainerError
from trainer.interruption import exit_code, sigterm_as_ctrl_c
from trainer.recipe import Recipe
from trainer.run_folder import RunFolder, open_run, telling_of_a_full_disk
from trainer.screen import Screen

if TYPE_CHECKING:
    from trainer.execution import Connect
    from trainer.orders import Crew


def run(recipe: Recipe, folder: RunFolder, connect: Connect, screen: Screen, crew: Crew | None = None) -> None:
    """Supervised start, then rounds of sampling, ranking and training; evaluation after each."""
    from trainer.orders import ALONE
    from trainer.pipeline import Pipeline
    from trainer.report import write_report
    from trainer.sampling.assembly import Samplers
    from trainer.trackers import trackers

    with Samplers(recipe, screen.say) as samplers, trackers(recipe, folder.path) as tracked:
        pipeline = Pipeline(recipe, folder, connect, screen, samplers, crew or ALONE, tracked)
        screen.title("Tasks")
        pipeline.make_tasks()
        screen.title("Supervised start")
        pipeline.train_start()
        pipeline.evaluate(0)
        for number in range(1, recipe.training.rounds + 1):
            screen.title(f"Round {number} of {recipe.training.rounds}")
            pipeline.ask_teacher(number)
            pipeline.sample(number)
            pipeline.train_round(number)
            pipeline.evaluate(number)
    write_report(recipe, folder, pipeline.problems, screen)


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code."""
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # read when grpc is imported; its remarks on connections are not for users
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS cannot be deterministic; it costs 8 MB
    options = _parser().parse_args(arguments)
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    with sigterm_as_ctrl_c() as terminated:
        try:
            recipe = recipe_file.load(options.recipe, options.set)
            if os.environ.get("RANK", "0") == "0":  # a launcher's other processes need neither problems nor folder
                first_look.check(recipe)
            _prepare_and_run(recipe, Screen())
        except TrainerError as error:
            errors.print(f"error: {error}", markup=False)
            return 2
        except KeyboardInterrupt as interruption:
            errors.print(f"\ninterrupted: {str(interruption) or 'no run was begun'}", markup=False)
            return exit_code(terminated)
    return 0


def _prepare_and_run(recipe: Recipe, screen: Screen) -> None:
    from trainer.orders import lead_or_follow

    with lead_or_follow(recipe) as crew:
        if crew is not None:
            _lead(recipe, screen, crew)


def _lead(recipe: Recipe, screen: Screen, crew: Crew) -> None:
    from trainer import preflight
    from trainer.execution import serve
    from trainer.orders import ALONE
    from trainer.reconnection import reconnecting

    screen.say("starting" if crew is ALONE else f"starting {crew}")
    preflight.check_inputs(recipe)
    with serve(recipe.engine) as connect:
        preflight.check_engine(connect, recipe.engine)
        with closing(open_run(recipe)) as folder:
            screen.say(f"{'continuing the unfinished run in' if folder.continued else 'a new run in'} [bold]{folder.path}[/bold]")
            try:
                with telling_of_a_full_disk(folder):
                    run(recipe, folder, reconnecting(connect, recipe.engine.retry_ms, screen.say), screen, crew)
            except KeyboardInterrupt as interruption:
                raise KeyboardInterrupt(f"the run lies in {folder.path}; the same command continues it") from interruption


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m trainer.main",
        description="Fine-tune a causal language model with ranking feedback (RRTF) from programs that ran in jails.\n\n"
        "Without a recipe the embedded default runs: a small new model learns generated programming tasks on a CPU, in a few\n"
        "minutes and without a download. A recipe takes any Hugging Face causal LM and any problems file.",
        epilog=_explain_keys(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("recipe", nargs="?", type=Path, metavar="RECIPE.toml", help="what differs from the embedded default")
    of_set = "one key, on top of the recipe; may be repeated (--set run.seed=1)"
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=of_set)
    return parser


def _explain_keys() -> str:
    examples = [
        "examples:",
        "  python -m trainer.main --set run.seed=3",
        "  python -m trainer.main recipes/humaneval.toml --set model.path=./my-model",
    ]
    return "\n".join(["all keys of a recipe with their defaults, in TOML:", "", recipe_file.defaults(), *examples])


if __name__ == "__main__":
    sys.exit(main())
