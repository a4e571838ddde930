"""`vllm serve`, the real server: what the sampler for servers gets from it equals transformers, also after new weights."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.trainer.sampling.test_vllm import LONG, NEW, OLD, described, requests, sample
from trainer.recipe import Recipe
from trainer.records import Candidate
from trainer.sampling.assembly import Samplers, look
from trainer.sampling.reloading import EXTENSION
from trainer.sampling.sampler import Origin
from trainer.sampling.settings import Sampling, Server
from trainer.sampling.transformers import TransformersSampler

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(600)]  # the server takes half a minute on a quiet machine

MARK = "\n"


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--host=127.0.0.1", f"--port={port}"]
    command += [f"--model={folder / 'old'}", "--served-model-name=tiny", f"--worker-extension-cls={EXTENSION}"]
    command += ["--enforce-eager", f"--kv-cache-memory-bytes={1 << 28}", "--dtype=float32"]
    environment = {**os.environ, "VLLM_SERVER_DEV_MODE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
    with subprocess.Popen(
        command,
        env=environment,
        cwd=Path(__file__).parents[3],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as server:
        assert server.stdout is not None
        said = []
        for line in server.stdout:
            said.append(line)
            if "Application startup complete" in line:
                break
        else:
            pytest.fail("".join(said[-30:]))
        drain = threading.Thread(target=server.stdout.read)
        drain.start()
        yield f"http://127.0.0.1:{port}/v1"
        server.terminate()
        drain.join()


def samplers(address: str, **sampling: object) -> Samplers:
    return Samplers(
        Recipe.model_validate(
            {
                "model": {"path": "unused"},
                "sampling": {"sampler": "openai", "max_response_tokens": 12, "stop_at": (), **sampling},
                "openai": {"addresses": [address], "reload": True},
            }
        )
    )


def from_server(address: str, path: Path, temperature: float = 0.0, **sampling: object) -> list[Candidate]:
    def load() -> object:
        raise AssertionError("the server samples, not this process")

    return sample(samplers(address, **sampling).of_model(path, load, "round-1/samples"), requests(temperature))  # type: ignore[arg-type]  # never called


@pytest.mark.parametrize("name", ["old", "new"])
def test_greedy_candidates_equal_those_of_transformers(address: str, folder: Path, name: str) -> None:
    """From the weights that the server began with, and from others that it took up."""
    model = OLD if name == "old" else NEW
    settings, origin = Sampling(max_response_tokens=12, stop_at=()), Origin(sampler="here", model="")
    here = sample(TransformersSampler(model, settings, origin=origin, seed=1, stage="test"), requests(0.0))
    there = from_server(address, folder / name)
    assert [(c.id, c.completion.strip("�"), c.tokens, c.truncated) for c in sorted(there, key=lambda c: int(c.id))] == [
        (c.id, c.completion.strip("�"), c.tokens, c.truncated) for c in sorted(here, key=lambda c: int(c.id))
    ]  # of bytes that are no text yet, the server says nothing


def test_the_same_seed_samples_the_same(address: str, folder: Path) -> None:
    """Several samples of one prompt differ."""
    first = described(from_server(address, folder / "old", 1.0))
    assert described(from_server(address, folder / "old", 1.0)) == first
    assert len({completion for _, completion, _, _ in first}) > len({LONG, "two more"})


def test_a_mark_ends_a_response(address: str, folder: Path) -> None:
    """The line break that opens the mark stays with the code, as with the other samplers."""
    found = from_server(address, folder / "old", 1.0, stop_at=(MARK,), max_response_tokens=200)
    marked = [candidate for candidate in found if MARK in candidate.completion]
    assert marked
    assert all(candidate.completion.index(MARK) == len(candidate.completion) - 1 for candidate in marked)
    assert not any(candidate.truncated for candidate in marked)


def test_the_server_is_recognised(address: str) -> None:
    """Its version stands on every sample."""
    assert look(Server(addresses=(address,)), "openai").version.startswith("vllm 0.")
