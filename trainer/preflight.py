"""What is looked at before a run folder is made, so that a mistake leaves nothing half-written."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.client import BadJob, CauseKind, Job, Problem, Verdict
from trainer import language_model, tasks, trackers
from trainer.errors import ExecutionError, ModelError
from trainer.execution import Connect, limits
from trainer.prompts import Prompt, prompt_of
from trainer.recipe import Engine, Recipe
from trainer.sampling import assembly


def check_inputs(recipe: Recipe) -> None:
    """Looks for the device, the model and what samples; reads the problems, and compares their lengths.

    Raises TasksError, ModelError or SamplerError.
    """
    language_model.check_device(recipe.run.device)
    trackers.check(recipe.run.trackers)
    assembly.check(recipe)
    if recipe.teacher.path:
        language_model.look(recipe.teacher.path, "teacher.path")
    if recipe.model.path:
        tokenizer = language_model.look(recipe.model.path)
        context = language_model.context_tokens(recipe.model.path)
        parts = _parts(recipe)
        taught = [*parts.start, *parts.train]
        prompt = prompt_of(recipe.model.prompt, tokenizer)
        check_prompts([*taught, *parts.held_out], tokenizer, recipe.sampling.max_response_tokens, context, prompt=prompt)
        _check_solutions(taught, tokenizer, context, prompt)


def check_prompts(
    problems: Sequence[Problem],
    tokenizer: Any,
    max_response_tokens: int,
    context: int | None,
    key: str = "sampling.max_response_tokens",
    *,
    prompt: Prompt = lambda problem: problem.prompt,
) -> None:
    """Raises ModelError where a prompt and a response do not fit into the model's context; `key` is the response's setting."""
    name, tokens = _longest({problem.task_id: prompt(problem) for problem in problems}, tokenizer)
    if context is not None and tokens + max_response_tokens > context:
        room = context - tokens
        cure = f"set it to {room} or less" if room > 0 else "leave that task out"
        raise ModelError(
            f"{key} is {max_response_tokens} and the longest prompt ({name}) has {tokens} tokens, together more than the "
            f"{context} of the model's context; {cure}, or take a model with a longer one"
        )


def _check_solutions(problems: Sequence[Problem], tokenizer: Any, context: int | None, prompt: Prompt) -> None:
    name, tokens = _longest({problem.task_id: prompt(problem) + (problem.gold or "") for problem in problems}, tokenizer)
    if context is not None and tokens >= context:  # the end token comes on top
        raise ModelError(
            f"tasks.problems: the task {name} has {tokens} tokens with its own solution, more than the {context} of the model's "
            "context; leave that task out, or take a model with a longer one"
        )


def _longest(texts: Mapping[str, str], tokenizer: Any) -> tuple[str, int]:
    tokens = {name: len(tokenizer(text, verbose=False)["input_ids"]) for name, text in texts.items()}
    return max(tokens.items(), key=lambda item: item[1])


def check_engine(connect: Connect, engine: Engine) -> None:
    """Runs one program in a jail, under the limits of the run. Raises ExecutionError where that fails."""
    try:
        asyncio.run(_run_one_program(connect, engine))
    except BadJob as error:
        raise ExecutionError(str(error).replace("limits.", "engine.")) from error


async def _run_one_program(connect: Connect, engine: Engine) -> None:
    async def jobs() -> AsyncIterator[Job]:
        yield Job(id="preflight", program="print('ready')\n", limits=limits(engine))

    async with connect() as executor:
        async for report in executor.execute_stream(jobs()):
            if report.cause.kind is CauseKind.LIMIT:
                setting = f"engine.{report.cause.limit} is {getattr(engine, report.cause.limit, 'lower on the engine')}"
                raise ExecutionError(f"{setting}, too little even for a program that only prints a word; set it higher")
            if report.verdict is not Verdict.FINISHED:
                raise ExecutionError(f"the engine cannot run a program: {report.verdict.value} {report.cause.message}".rstrip())


def _parts(recipe: Recipe) -> tasks.Parts:
    """The tasks of the run; those that are generated are made for the look alone."""
    with tempfile.TemporaryDirectory(prefix="tasks-") as folder:
        generated = Path(folder) / tasks.PROBLEMS
        tasks.write_generated(recipe, generated)
        return tasks.deal(recipe, generated)
