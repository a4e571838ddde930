"""Replicas that hold vLLM's real engine: greedy samples equal those of transformers, also from new weights and after a death."""

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import ray

from tests.trainer.sampling.test_vllm import NEW, OLD, requests
from trainer.language_model import LanguageModel
from trainer.recipe import Recipe
from trainer.records import Candidate
from trainer.sampling.assembly import Samplers, transformers_sampler
from trainer.sampling.sampler import Sampler
from trainer.sampling.settings import Sampling

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.slow,
    pytest.mark.timeout(600),  # two engines start in a minute on a quiet machine
    pytest.mark.filterwarnings("ignore"),  # of torch's, Ray's and vLLM's own
]

SAMPLING = Sampling(sampler="ray", max_response_tokens=60, stop_at=())


@pytest.fixture(scope="module")
def samplers() -> Iterator[Samplers]:
    recipe = Recipe.model_validate(
        {
            "run": {"device": "cpu"},
            "sampling": SAMPLING.model_dump(),
            "ray": {"sampler": "vllm", "replicas": 2},
            "vllm": {"kv_cache_bytes": 1 << 28},
        }
    )
    with Samplers(recipe) as found:
        yield found


def never() -> LanguageModel:
    raise AssertionError("the replicas sample, not this process")


def sample(sampler: Sampler, killed: Sequence[int] = ()) -> list[tuple[str, str, int]]:
    """By id; kills processes while the first candidate is handed on."""
    left: list[Candidate] = []
    first = threading.Lock()  # replicas hand on from threads of their own; whoever is first keeps it

    def emit(candidate: Candidate) -> None:
        for pid in killed if first.acquire(blocking=False) else ():
            os.kill(pid, signal.SIGKILL)
        left.append(candidate)

    sampler.sample(requests(0.0), emit, threading.Event())
    return sorted((candidate.id, candidate.completion, candidate.tokens) for candidate in left)


@pytest.mark.parametrize("name", ["old", "new"])
def test_greedy_candidates_equal_those_of_transformers(samplers: Samplers, folder: Path, name: str) -> None:
    """From the weights that the engines began with, and from others that they took up."""
    found = samplers.of_model(folder / name, never, f"{name}/samples")
    here = transformers_sampler(folder / name, OLD if name == "old" else NEW, SAMPLING, 0, "stage")
    assert sample(found) == sample(here)


def test_a_killed_engine_loses_nothing(samplers: Samplers, folder: Path) -> None:
    """All replicas at once, with all that they had under way."""
    assert samplers._replicas is not None
    actors = [member.actor for member in samplers._replicas.members]
    pids = ray.get([actor.__ray_call__.remote(lambda replica: os.getpid()) for actor in actors])
    found = samplers.of_model(folder / "old", never, "round-1/samples")
    assert sample(found, pids) == sample(transformers_sampler(folder / "old", OLD, SAMPLING, 0, "stage"))
