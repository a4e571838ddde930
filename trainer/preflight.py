"""What is looked at before a run folder is made, so that a mistake leaves nothing half-written."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from engine.client import Job, Verdict
from trainer import language_model, tasks
from trainer.errors import ExecutionError
from trainer.execution import Connect
from trainer.recipe import Recipe


def check_inputs(recipe: Recipe) -> None:
    """Reads the problems and looks for the model. Raises TasksError or ModelError."""
    if recipe.tasks.problems != tasks.GENERATED:
        tasks.deal(recipe, Path())
    if recipe.model.path:
        language_model.look(recipe.model.path)


def check_engine(connect: Connect) -> None:
    """Runs one program in a jail. Raises ExecutionError where that fails."""
    asyncio.run(_run_one_program(connect))


async def _run_one_program(connect: Connect) -> None:
    async def jobs() -> AsyncIterator[Job]:
        yield Job(id="preflight", program="print('ready')\n")

    async with connect() as executor:
        async for report in executor.execute_stream(jobs()):
            if report.verdict is not Verdict.FINISHED:
                raise ExecutionError(f"the engine cannot run a program: {report.verdict.value} {report.cause.message}".rstrip())
