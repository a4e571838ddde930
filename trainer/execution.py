r"""Candidates run while others are still being sampled.

    sampler thread --emit--> queue --jobs--> engine --reports--> outcomes
                                       \--> teacher --scores--/

The sampler works in a thread and the engine is spoken to from an event loop; the queue between them is the only thing they
share. It has an end: a sampler that is faster than the engine waits. On the way each response becomes the code that follows its
problem's preamble. Every request ends as exactly one outcome. When anything fails, or the run is interrupted, the sampler is told
to stop. What was sampled or executed before an interruption is in the progress that is handed in, and is not repeated.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import replace
from typing import Protocol

from engine.client import AsyncClient, EngineError, Job, Limits, LocalEngine, Problem, Report, StopRule
from trainer.errors import ExecutionError
from trainer.extraction import extract
from trainer.handover import Handover
from trainer.progress import Progress
from trainer.recipe import Engine
from trainer.records import Candidate, Outcome, Request
from trainer.sampling.sampler import Sampler
from trainer.teachers.scorer import OpenScorer, Scoring, scoring

type Connect = Callable[[], AbstractAsyncContextManager["Executor"]]
type Advance = Callable[[], None]
"""Told of each thing that is done now, and not of those in the progress that is handed in."""

_WAITING = 256
"""Candidates that may wait between sampler and engine: more than a batch of rows, which come nearly at once."""


class Executor(Protocol):
    """Whatever runs jobs: reports come as they finish, in any order, with the id of their job."""

    def execute_stream(self, jobs: AsyncIterable[Job]) -> AsyncGenerator[Report, None]: ...


@contextmanager
def serve(engine: Engine) -> Iterator[Connect]:
    """The engine at the recipe's address, or one of our own for as long as the block lasts."""
    try:
        if engine.address:
            yield lambda: AsyncClient(engine.address)
        else:
            with LocalEngine() as local:
                yield lambda: AsyncClient(_running(local).address)
    except EngineError as error:
        raise ExecutionError(str(error)) from error


def _running(local: LocalEngine) -> LocalEngine:
    """The engine of our own, started again where it died."""
    if not local.is_running:
        local.stop()
        local.__enter__()
    return local


def limits(engine: Engine) -> Limits:
    """What one candidate may use."""
    return Limits(cpu_time_ms=engine.cpu_time_ms, wall_time_ms=engine.wall_time_ms, memory_bytes=engine.memory_bytes)


def sample_and_execute(
    sampler: Sampler,
    requests: Sequence[Request],
    problems: Mapping[str, Problem],
    connect: Connect,
    engine: Engine,
    on_sampled: Advance = lambda: None,
    on_executed: Advance = lambda: None,
    progress: Progress | None = None,
    open_scorer: OpenScorer | None = None,
) -> list[Outcome]:
    """One outcome for each request, in the order of the requests; with teacher scores where there is a scorer.

    Raises ExecutionError where the engine left a candidate without a report.
    """
    so_far = progress or Progress()
    work = _sample_and_execute(sampler, requests, problems, connect, engine, on_sampled, on_executed, so_far, open_scorer)
    return asyncio.run(work)


def execute_gold(
    problems: Sequence[Problem],
    connect: Connect,
    engine: Engine,
    on_executed: Advance = lambda: None,
    progress: Progress | None = None,
) -> list[Outcome]:
    """Outcomes of the problems' own solutions, in the order of the problems; all of them have one."""
    return asyncio.run(_execute_gold(problems, connect, engine, on_executed, progress or Progress()))


async def _sample_and_execute(
    sampler: Sampler,
    requests: Sequence[Request],
    problems: Mapping[str, Problem],
    connect: Connect,
    engine: Engine,
    on_sampled: Advance,
    on_executed: Advance,
    progress: Progress,
    open_scorer: OpenScorer | None,
) -> list[Outcome]:
    stop = threading.Event()
    sampled: Handover[Candidate] = Handover(_WAITING, stop)
    marked = [replace(request, sampled=request.id in progress.candidates) for request in requests]
    earlier = progress.unexecuted(request.id for request in requests)
    candidates: dict[str, Candidate] = {}

    def emit(response: Candidate) -> None:
        if response.id not in progress.candidates:
            progress.sampled(response)
            sampled.put(response)

    def work() -> None:
        try:
            sampler.sample(marked, emit, stop)
        finally:
            sampled.end()

    def job(candidate: Candidate) -> Job:
        problem = problems[candidate.task_id]
        return problem.job(candidate.completion, id=candidate.id, limits=limits(engine), stop=StopRule.FIRST_FAILURE)

    async def take(response: Candidate, teacher: Scoring | None) -> Candidate:
        candidates[response.id] = candidate = code_of(response, problems[response.task_id])
        if teacher:
            await teacher.put(candidate)
        return candidate

    async def jobs(teacher: Scoring | None) -> AsyncIterator[Job]:
        for outcome in [*progress.outcomes.values()]:
            if teacher:
                await teacher.put(outcome.candidate)
        for response in earlier:
            yield job(await take(response, teacher))
        async for response in sampled:
            on_sampled()
            yield job(await take(response, teacher))

    async with scoring(open_scorer, problems, progress) as teacher:
        sampling = asyncio.create_task(asyncio.to_thread(work))
        try:
            await _collect(jobs(teacher), candidates, connect, on_executed, progress)
            await sampling
        finally:
            stop.set()
        if teacher:
            await teacher.finish()
    return [_outcome(progress, request.id) for request in requests]


async def _execute_gold(
    problems: Sequence[Problem], connect: Connect, engine: Engine, on_executed: Advance, progress: Progress
) -> list[Outcome]:
    candidates = {problem.task_id: gold_candidate(problem) for problem in problems}
    left = [problem for problem in problems if problem.task_id not in progress.outcomes]

    async def jobs() -> AsyncIterator[Job]:
        for problem in left:
            yield problem.gold_job(id=problem.task_id, limits=limits(engine), stop=StopRule.FIRST_FAILURE)

    await _collect(jobs(), candidates, connect, on_executed, progress)
    return [_outcome(progress, problem.task_id) for problem in problems]


async def _collect(
    jobs: AsyncIterator[Job],
    candidates: Mapping[str, Candidate],
    connect: Connect,
    on_executed: Advance,
    progress: Progress,
) -> None:
    async with connect() as executor:
        async for report in executor.execute_stream(jobs):
            progress.executed(_outcome_of(candidates[report.id], report))
            on_executed()


def code_of(response: Candidate, problem: Problem) -> Candidate:
    """The candidate, once a sampler has given the response."""
    found = extract(response.completion, problem.preamble, problem.entry_point, at_limit=response.truncated)
    return replace(response, completion=found.code, truncated=found.truncated)


def gold_candidate(problem: Problem) -> Candidate:
    """The problem's own solution as a teacher's response."""
    task_id, completion = problem.task_id, problem.gold or ""
    return Candidate(id=task_id, task_id=task_id, completion=completion, temperature=0.0, seed=0, tokens=0, teacher=True)


def _outcome(progress: Progress, name: str) -> Outcome:
    if name not in progress.outcomes:
        was_sampled = name in progress.candidates
        raise ExecutionError(f"candidate {name}: {'the engine gave no report' if was_sampled else 'never sampled'}")
    return replace(progress.outcomes[name], teacher_score=progress.scores.get(name))


def _outcome_of(candidate: Candidate, report: Report) -> Outcome:
    return Outcome(
        candidate=candidate,
        verdict=report.verdict.value,
        tests_passed=report.tests_passed,
        tests_total=report.tests_total,
        trust=report.trust.value,
        error=report.error[-2000:],
        cpu_time_ms=report.cpu_time_ms,
    )
