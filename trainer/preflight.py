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

_OF_MODEL = ("the model's context", "take a model with a longer one")
_OF_TEACHER = ("the context of teacher.path", "take a teacher with a longer one")
_OF_VLLM = ("vllm.context_tokens", "raise that")


def check_inputs(recipe: Recipe) -> None:
    """Looks for the device, the model and what samples; reads the problems, and compares their lengths.

    Raises TasksError, ModelError or SamplerError.
    """
    language_model.check_device(recipe.run.device)
    trackers.check(recipe.run.trackers)
    assembly.check(recipe)
    if recipe.model.path or recipe.teacher.path:
        check_models(recipe, _parts(recipe))


def check_models(recipe: Recipe, parts: tasks.Parts) -> None:
    """Looks for the recipe's models, and holds the tasks against their contexts. Raises ModelError."""
    if recipe.teacher.path:
        _check_teacher(recipe, parts)
    if recipe.model.path:
        _check_student(recipe, parts)


def _check_student(recipe: Recipe, parts: tasks.Parts) -> None:
    tokenizer = language_model.look(recipe.model.path)
    context, response = language_model.context_tokens(recipe.model.path), recipe.sampling.max_response_tokens
    taught = [*parts.start, *parts.train]
    prompt = prompt_of(recipe.model.prompt, tokenizer)
    check_prompts([*taught, *parts.held_out], tokenizer, response, context, prompt=prompt)
    _check_solutions(taught, tokenizer, context, prompt)
    sampler = recipe.ray.sampler if recipe.sampling.sampler == "ray" else recipe.sampling.sampler
    if sampler == "vllm":
        check_prompts(
            [*taught, *parts.held_out], tokenizer, response, recipe.vllm.context_tokens or None, prompt=prompt, of=_OF_VLLM
        )


def _check_teacher(recipe: Recipe, parts: tasks.Parts) -> None:
    """In this run: behind the prompts of the rounds there is room for what it answers, or for what it finds likely."""
    teacher, tokenizer = recipe.teacher, language_model.look(recipe.teacher.path, "teacher.path")
    if teacher.sampler not in ("transformers", "vllm") and teacher.score != "likelihood":
        return
    context, of = language_model.context_tokens(teacher.path), _OF_TEACHER
    prompt = prompt_of(teacher.prompt, tokenizer, "teacher.prompt")
    key, response = "teacher.max_response_tokens", teacher.max_response_tokens
    if teacher.sampler in ("transformers", "vllm"):
        check_prompts(parts.train, tokenizer, response, context, key, prompt=prompt, of=of)
    if teacher.sampler == "vllm":
        check_prompts(parts.train, tokenizer, response, recipe.vllm.context_tokens or None, key, prompt=prompt, of=_OF_VLLM)
    if teacher.score == "likelihood":
        check_prompts(parts.train, tokenizer, recipe.sampling.max_response_tokens, context, prompt=prompt, of=of)


def check_prompts(
    problems: Sequence[Problem],
    tokenizer: Any,
    max_response_tokens: int,
    context: int | None,
    key: str = "sampling.max_response_tokens",
    *,
    prompt: Prompt = lambda problem: problem.prompt,
    of: tuple[str, str] = _OF_MODEL,
) -> None:
    """Raises ModelError where a prompt and a response do not fit into the context; `key` is the response's setting.

    `of` says what has that context, and what to do about it.
    """
    if context is None:
        return
    name, tokens = _longest({problem.task_id: prompt(problem) for problem in problems}, tokenizer)
    if tokens + max_response_tokens > context:
        room = context - tokens
        cure = f"set it to {room} or less" if room > 0 else "leave that task out"
        raise ModelError(
            f"{key} is {max_response_tokens} and the longest prompt ({name}) has {tokens} tokens, together more than the "
            f"{context} of {of[0]}; {cure}, or {of[1]}"
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
