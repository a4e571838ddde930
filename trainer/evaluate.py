"""The evaluation command: samples from a model, runs every sample in a jail, and prints pass@k.

python -m trainer.evaluate MODEL PROBLEMS                          greedy pass@1
python -m trainer.evaluate MODEL PROBLEMS --samples 20 --temperature 0.8 --k 1 --k 10
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from rich.console import Console

from trainer.errors import RecipeError, TrainerError
from trainer.interruption import exit_code, sigterm_as_ctrl_c
from trainer.recipe import Engine
from trainer.run_folder import write_json
from trainer.sampling.settings import PromptForm, Sampling
from trainer.screen import Screen

if TYPE_CHECKING:
    from trainer.records import Outcome


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code."""
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # read when grpc is imported; its remarks on connections are not for users
    options = _parser().parse_args(arguments)
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    with sigterm_as_ctrl_c() as terminated:
        try:
            result = _evaluate(options, Screen(Console(highlight=False, stderr=options.json)))
        except TrainerError as error:
            errors.print(f"error: {error}", markup=False)
            return 2
        except KeyboardInterrupt:
            errors.print("\ninterrupted: nothing was written")
            return exit_code(terminated)
    if options.json:
        sys.stdout.write(json.dumps(result) + "\n")
    return 0


def _evaluate(options: argparse.Namespace, screen: Screen) -> dict[str, Any]:
    from trainer.evaluation import left_out, mean_pass_at_k, tasks_that_count
    from trainer.ranking import verdict_mix
    from trainer.records import write_lines

    wanted = options.k or [1]
    _check(options, wanted)
    outcomes = _outcomes(options, screen)
    tasks = len({outcome.candidate.task_id for outcome in outcomes})
    counted = {f"pass@{k}": tasks_that_count(outcomes, k) for k in wanted}
    result = {
        **{f"pass@{k}": mean_pass_at_k(outcomes, k) for k in wanted},
        "tasks": tasks,
        "tasks_that_count": counted,
        "samples": options.samples,
        "left_out": left_out(outcomes),
        "verdicts": verdict_mix(outcomes),
    }
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        write_lines(options.out / "outcomes.jsonl", outcomes)
        write_json(options.out / "metrics.json", result)
    screen.say("  " + ", ".join(f"{name} [bold]{result[name]:.1%}[/bold] of {count} tasks" for name, count in counted.items()))
    if min(counted.values()) < tasks:
        screen.say(f"  of {tasks} tasks those count that have k samples with a verdict")
    return result


def _check(options: argparse.Namespace, wanted: list[int]) -> None:
    if options.samples < 1 or not all(1 <= k <= options.samples for k in wanted):
        raise RecipeError(f"--k {max(wanted)} needs at least as many --samples, not {options.samples}")
    if options.temperature < 0 or (options.temperature == 0 and options.samples > 1):
        raise RecipeError("several --samples need a --temperature above 0: greedy ones are all alike")


def _outcomes(options: argparse.Namespace, screen: Screen) -> list[Outcome]:
    from trainer import language_model, preflight
    from trainer.execution import sample_and_execute, serve
    from trainer.prompts import prompt_of, requests_for
    from trainer.sampling.assembly import transformers_sampler
    from trainer.tasks import read

    problems = {problem.task_id: problem for problem in read(options.problems, "PROBLEMS")}
    language_model.check_device(options.device, "--device")
    tokenizer, context = language_model.look(options.model), language_model.context_tokens(options.model)
    prompt = prompt_of(options.prompt, tokenizer)
    key = "--max-response-tokens"
    preflight.check_prompts(list(problems.values()), tokenizer, options.max_response_tokens, context, key, prompt=prompt)
    requests = requests_for(problems, prompt, [options.temperature] * options.samples, "evaluate")
    model = language_model.load(options.model, options.dtype, options.device)
    settings = Sampling(top_p=options.top_p, max_response_tokens=options.max_response_tokens, batch_rows=options.batch_rows)
    sampler = transformers_sampler(options.model, model, settings, options.seed, "evaluate")
    engine = Engine(address=options.address, cpu_time_ms=10_000, wall_time_ms=30_000, memory_bytes=512 * 1024 * 1024)
    bars = ("sampled", len(requests), "candidates"), ("executed", len(requests), "programs")
    with serve(engine) as connect:
        preflight.check_engine(connect, engine)
        with screen.bars(*bars) as [on_sampled, on_executed]:
            return sample_and_execute(sampler, requests, problems, connect, engine, on_sampled, on_executed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m trainer.evaluate",
        description="Sample from a model, run every sample in a jail, and print pass@k (the unbiased estimate).",
    )
    add = parser.add_argument
    add("model", metavar="MODEL", help="a Hugging Face causal LM: a local folder or a hub id")
    add("problems", metavar="PROBLEMS", help="HumanEval, MBPP, LeetCodeDataset or stdin/stdout JSONL(.gz)")
    add("--samples", type=int, default=1, help="samples of each task (default 1)")
    add("--temperature", type=float, default=0.0, help="0, the default, is greedy")
    add("--top-p", type=_share, default=1.0, help="default 1.0")
    add("--prompt", choices=get_args(PromptForm), default="completion", help="how the model is asked, as it was in training")
    add("--k", type=int, action="append", help="which pass@k to print; may be repeated (default 1)")
    add("--max-response-tokens", type=_count, default=512, help="default 512")
    add("--batch-rows", type=_count, default=64, help="samples generated at once (default 64)")
    add("--seed", type=int, default=0, help="default 0")
    add("--device", default="auto", help="auto, cpu, cuda, ...")
    add("--dtype", choices=("float32", "bfloat16"), default="float32", help="default float32")
    add("--address", default="", help="a running engine; without one, one is started for the call")
    add("--out", type=Path, help="a folder for the outcomes and the metrics")
    add("--json", action="store_true", help="print one object last")
    return parser


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def _share(text: str) -> float:
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError("must be above 0 and at most 1")
    return value


if __name__ == "__main__":
    sys.exit(main())
