"""Candidates and the engine: one outcome for each request, and failures that stop the sampler."""

import threading
from collections.abc import Sequence

import pytest

from engine.client import Job, Verdict
from tests.trainer.fakes import FakeExecutor, problem
from trainer.errors import ExecutionError
from trainer.execution import execute_gold, sample_and_execute
from trainer.progress import Progress
from trainer.recipe import Engine
from trainer.records import Candidate, Request
from trainer.sampling.sampler import Emit

PROBLEMS = {name: problem(name) for name in ("a", "b")}
REQUESTS = [Request(id=f"r/samples/{name}/{n}", task_id=name, prompt="", temperature=1.0) for name in PROBLEMS for n in range(3)]


class EchoSampler:
    """Answers each request with code that names it; can be told to break."""

    def __init__(self, *, broken: bool = False) -> None:
        self._broken = broken
        self.stopped: threading.Event | None = None

    def sample(self, requests: Sequence[Request], emit: Emit, stop: threading.Event) -> None:
        self.stopped = stop
        for request in reversed(requests):
            emit(
                Candidate(
                    id=request.id, task_id=request.task_id, completion=f"return '{request.id}'", temperature=1.0, seed=0, tokens=1
                )
            )
        if self._broken:
            raise RuntimeError("out of memory")


def test_every_request_has_one_outcome_in_the_order_of_the_requests() -> None:
    """Though candidates and reports come in other orders."""
    outcomes = sample_and_execute(EchoSampler(), REQUESTS, PROBLEMS, FakeExecutor().connect, Engine())
    assert [outcome.candidate.id for outcome in outcomes] == [request.id for request in REQUESTS]
    assert all(request.id in outcome.candidate.completion for request, outcome in zip(REQUESTS, outcomes, strict=True))


def counts_told(progress: Progress | None = None) -> tuple[int, int]:
    """How often it was told that a candidate was sampled, and that one was executed."""
    told: list[str] = []
    sample_and_execute(
        EchoSampler(),
        REQUESTS,
        PROBLEMS,
        FakeExecutor().connect,
        Engine(),
        on_sampled=lambda: told.append("sampled"),
        on_executed=lambda: told.append("executed"),
        progress=progress,
    )
    return told.count("sampled"), told.count("executed")


def test_progress_is_told_for_each_candidate() -> None:
    """Once when sampled, once when executed."""
    assert counts_told() == (len(REQUESTS), len(REQUESTS))


def test_what_was_done_before_is_not_told_again() -> None:
    """Else it would count as done in no time."""
    progress = Progress()
    [done, *_] = sample_and_execute(EchoSampler(), REQUESTS[:1], PROBLEMS, FakeExecutor().connect, Engine())
    progress.sampled(done.candidate)
    progress.executed(done)
    assert counts_told(progress) == (len(REQUESTS) - 1, len(REQUESTS) - 1)


def test_a_missing_report_is_an_error_and_not_a_failed_candidate() -> None:
    """It says which candidate."""
    with pytest.raises(ExecutionError, match="r/samples/b/1: the engine gave no report"):
        sample_and_execute(EchoSampler(), REQUESTS, PROBLEMS, FakeExecutor(unanswered="b/1").connect, Engine())


def test_a_sampler_that_breaks_ends_the_stage_with_its_error() -> None:
    """And does not leave the run waiting."""
    with pytest.raises(RuntimeError, match="out of memory"):
        sample_and_execute(EchoSampler(broken=True), REQUESTS, PROBLEMS, FakeExecutor().connect, Engine())


def test_an_engine_that_fails_stops_the_sampler() -> None:
    """So that no thread goes on sampling for nobody."""
    sampler = EchoSampler()
    with pytest.raises(KeyboardInterrupt):
        sample_and_execute(sampler, REQUESTS, PROBLEMS, FakeExecutor(fail_at="b/1").connect, Engine())
    assert sampler.stopped is not None
    assert sampler.stopped.is_set()


def test_candidates_are_executed_while_others_are_sampled() -> None:
    """The second is not sampled before the engine has the first: a round that waited for all of them would never end."""
    arrived = threading.Event()

    class Waiting(EchoSampler):
        def sample(self, requests: Sequence[Request], emit: Emit, stop: threading.Event) -> None:
            super().sample(requests[:1], emit, stop)
            assert arrived.wait(60)
            super().sample(requests[1:], emit, stop)

    def take(_: Job) -> Verdict:
        arrived.set()
        return Verdict.PASSED

    executor = FakeExecutor(take)
    assert len(sample_and_execute(Waiting(), REQUESTS, PROBLEMS, executor.connect, Engine())) == len(REQUESTS)


def test_gold_solutions_are_teachers() -> None:
    """Their outcomes carry it into the ranking."""
    outcomes = execute_gold(list(PROBLEMS.values()), FakeExecutor().connect, Engine())
    assert [(o.candidate.task_id, o.candidate.teacher, o.verdict) for o in outcomes] == [
        ("a", True, "passed"),
        ("b", True, "passed"),
    ]
