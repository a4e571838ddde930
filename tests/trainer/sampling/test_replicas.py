"""Replicas on a real Ray cluster of two nodes: they sample what one sampler samples, also where one of them is killed."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster

from tests.trainer import small
from tests.trainer.sampling.breaking import Breaks, die, dwell, fail, no_model
from trainer.errors import SamplerError
from trainer.language_model import LanguageModel
from trainer.recipe import Recipe
from trainer.records import Candidate, Request
from trainer.sampling.assembly import Samplers, transformers_sampler
from trainer.sampling.replicas import Replicas, ReplicasSampler
from trainer.sampling.sampler import Sampler
from trainer.sampling.settings import Ray

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),  # Ray starts within seconds on a quiet machine
    pytest.mark.filterwarnings("ignore"),  # of Ray's own
]

NODE: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_dashboard": False}
OLD, NEW = small.model(0, context_tokens=512), small.model(5, context_tokens=512)
REQUESTS = [
    Request(id=f"{temperature}/{n}", task_id="t", prompt=small.TEXTS[n % 2][: 10 + n], temperature=temperature)
    for temperature in (0.0, 1.0)
    for n in range(4)
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    found = two_nodes(attempts=3)
    yield found
    found.shutdown()


def two_nodes(attempts: int) -> Cluster:
    """Ray waits half a minute for a node to start, and now and then one does not."""
    found = Cluster()
    try:
        found.add_node(**NODE)
        found.add_node(**NODE)
    except Exception:
        found.shutdown()
        if attempts == 1:
            raise
        return two_nodes(attempts - 1)
    return found


def recipe(address: str, **settings: object) -> Recipe:
    return Recipe.model_validate(
        {
            "run": {"seed": 1, "device": "cpu"},
            "sampling": {"sampler": "ray", "max_response_tokens": 40, "batch_rows": 2, "stop_at": ()},
            "ray": {"address": address, **settings},
        }
    )


@pytest.fixture(scope="module")
def samplers(cluster: Cluster) -> Iterator[Samplers]:
    """One run's, whose replicas may be killed often. A node has room for one of them."""
    with Samplers(recipe(cluster.address, restarts=20, cpus=0.6)) as found:
        yield found


def never() -> LanguageModel:
    raise AssertionError("the replicas sample, not this process")


def sample(
    sampler: Sampler, requests: Sequence[Request] = REQUESTS, on_first: Callable[[], None] = lambda: None
) -> list[Candidate]:
    """In the order of their ids; `on_first` is called while the first candidate is handed on."""
    left: list[Candidate] = []
    first = threading.Lock()  # replicas hand on from threads of their own; whoever is first keeps it

    def emit(candidate: Candidate) -> None:
        if first.acquire(blocking=False):
            on_first()
        left.append(candidate)

    sampler.sample(requests, emit, threading.Event())
    return sorted(left, key=lambda candidate: candidate.id)


@cache
def alone(folder: Path, name: str, stage: str) -> list[Candidate]:
    """What one sampler makes of all requests."""
    model = OLD if name == "old" else NEW
    return sample(transformers_sampler(folder / name, model, recipe("").sampling, 1, stage))


def asked(samplers: Samplers, question: Callable[[Any], Any]) -> list[Any]:
    """What each replica answers, once it is there."""
    assert samplers._replicas is not None
    actors = [member.actor for member in samplers._replicas.members]
    return ray.get([actor.__ray_call__.options(max_task_retries=-1).remote(question) for actor in actors])


def pids(samplers: Samplers) -> list[int]:
    return asked(samplers, lambda replica: os.getpid())


def kill(running: Sequence[int]) -> None:
    for pid in running:
        os.kill(pid, signal.SIGKILL)


def test_replicas_sample_what_one_sampler_samples(samplers: Samplers, folder: Path) -> None:
    """Candidate by candidate with seeds and origin, whichever replica made it; each lies on a node of its own and took part."""
    found = samplers.of_model(folder / "old", never, "round-1/samples")
    nodes = asked(samplers, lambda replica: ray.get_runtime_context().get_node_id())  # both are there before there is work
    assert len(set(nodes)) == 2
    assert sample(found) == alone(folder, "old", "round-1/samples")
    assert len(set(asked(samplers, lambda replica: replica._stage))) == 1


def test_a_stage_is_sampled_from_its_own_weights(samplers: Samplers, folder: Path) -> None:
    """The actors stay, and take up the model of each stage."""
    before = [sample(samplers.of_model(folder / "old", never, "round-1/samples")), pids(samplers)]
    assert sample(samplers.of_model(folder / "new", never, "round-2/samples")) == alone(folder, "new", "round-2/samples")
    assert [alone(folder, "old", "round-1/samples"), pids(samplers)] == before


def test_what_was_sampled_before_is_not_asked_for(samplers: Samplers, folder: Path) -> None:
    """And what is left comes out as it would have."""
    requests = [replace(request, sampled=n % 3 != 1) for n, request in enumerate(REQUESTS)]
    wanted = {request.id for request in requests if not request.sampled}
    found = sample(samplers.of_model(folder / "old", never, "round-1/samples"), requests)
    assert found == [candidate for candidate in alone(folder, "old", "round-1/samples") if candidate.id in wanted]


@pytest.mark.parametrize("killed", [1, 2])
def test_a_killed_replica_loses_nothing(samplers: Samplers, folder: Path, killed: int) -> None:
    """SIGKILL mid-round, to one or to all: every request is answered once and as it would have been; the actors are made anew."""
    sample(samplers.of_model(folder / "new", never, "start/evaluation"), REQUESTS[:1])
    before = pids(samplers)
    found = sample(samplers.of_model(folder / "old", never, "round-1/samples"), REQUESTS, lambda: kill(before[:killed]))
    assert found == alone(folder, "old", "round-1/samples")
    assert len({*before, *pids(samplers)}) == 2 + killed


def test_without_any_replica_the_run_ends(cluster: Cluster, folder: Path) -> None:
    """Where they died more often than they may be made anew."""
    with Samplers(recipe(cluster.address, restarts=0, cpus=0.2)) as samplers:
        sample(samplers.of_model(folder / "old", never, "start/evaluation"), REQUESTS[:1])
        found = samplers.of_model(folder / "old", never, "round-1/samples")
        running = pids(samplers)
        with pytest.raises(SamplerError, match="none of the 2 replicas is left: The actor died"):
            sample(found, REQUESTS, lambda: kill(running))


def test_replicas_without_room_are_explained(cluster: Cluster, folder: Path) -> None:
    """What the cluster has, and what they take."""
    with Samplers(recipe(cluster.address, cpus=7, start_ms=1000)) as samplers:
        wanted = "the cluster has 2 processors with 0 GPUs, and each of 2 replicas takes 7 with 0"
        with pytest.raises(SamplerError, match=wanted):
            sample(samplers.of_model(folder / "old", never, "round-1/samples"))


def test_weights_that_a_node_does_not_have_are_named(samplers: Samplers, tmp_path: Path) -> None:
    """With the path as the node knows it."""
    with pytest.raises(SamplerError, match=f"ray: .*{tmp_path}"):
        sample(samplers.of_model(tmp_path, never, "round-1/samples"))


@contextmanager
def breaking(address: str, at: str, how: Callable[[], None], at_once: int = 1, start_s: float = 0) -> Iterator[Sampler]:
    samplers = partial(Breaks, at, how, start_s)
    replicas = Replicas(Ray(address=address, restarts=5, cpus=0.2), at_once, samplers, no_model)
    try:
        yield ReplicasSampler(replicas, "", "stage", lambda requests: [list(requests[n : n + 2]) for n in range(0, 8, 2)])
    finally:
        replicas.close()


@pytest.mark.parametrize("how", [fail, die])
def test_a_request_that_breaks_every_replica_ends_the_run(cluster: Cluster, how: Callable[[], None]) -> None:
    """It is named, and all but the one beside it are answered before, once; that one may be lost with each process."""
    answered: list[str] = []
    wanted = r"5 replicas broke over the same requests \(.*1\.0/1"
    with breaking(cluster.address, "1.0/1", how) as sampler, pytest.raises(SamplerError, match=wanted):
        sampler.sample(REQUESTS, lambda candidate: answered.append(candidate.id), threading.Event())
    assert sorted({*answered, "1.0/0"}) == [request.id for request in REQUESTS if request.id != "1.0/1"]
    assert len(set(answered)) == len(answered)


def test_seats_without_work_outlive_their_replica(cluster: Cluster) -> None:
    """Replicas with many more seats than work are killed, and are long in coming back: no share is given up, none is lost."""
    with breaking(cluster.address, "", dwell, at_once=16, start_s=4) as sampler:
        assert isinstance(sampler, ReplicasSampler)
        actors = [member.actor for member in sampler._replicas.members]
        running = ray.get([actor.__ray_call__.remote(lambda replica: os.getpid()) for actor in actors])
        found = sample(sampler, REQUESTS, lambda: kill(running))
    assert [candidate.id for candidate in found] == [request.id for request in REQUESTS]


def test_a_removed_node_loses_nothing(samplers: Samplers, folder: Path, cluster: Cluster) -> None:
    """Its replica finds no other place, and the one that is left answers for it; a new node takes it in."""
    sample(samplers.of_model(folder / "new", never, "start/evaluation"), REQUESTS[:1])
    asked(samplers, lambda replica: None)
    [node] = [node for node in cluster.list_all_nodes() if not node.head]
    found = sample(
        samplers.of_model(folder / "old", never, "round-1/samples"),
        REQUESTS,
        lambda: cluster.remove_node(node, allow_graceful=False),
    )
    assert found == alone(folder, "old", "round-1/samples")
    cluster.add_node(**NODE)
    assert len(set(pids(samplers))) == 2
