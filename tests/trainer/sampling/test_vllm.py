"""vLLM's real engine with a tiny model: what it samples equals what transformers samples, also after new weights."""

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import torch
from rich.console import Console

from tests.trainer import adapted, small
from tests.trainer.fakes import FakeExecutor
from trainer.errors import SamplerError
from trainer.extraction import cut
from trainer.language_model import LanguageModel
from trainer.main import run
from trainer.recipe import Recipe
from trainer.records import Candidate, Request
from trainer.revision import revision
from trainer.run_folder import open_run
from trainer.sampling.sampler import Origin, Sampler
from trainer.sampling.settings import Sampling, Vllm
from trainer.sampling.transformers import TransformersSampler
from trainer.sampling.vllm import VllmEngine, VllmSampler
from trainer.screen import Screen

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.slow,
    pytest.mark.timeout(600),  # the engine starts in half a minute on a quiet machine
    pytest.mark.filterwarnings("ignore"),  # of torch's and vLLM's own, as vLLM is imported
]

ORIGIN = Origin(sampler="test", model="tiny")


def a_model(seed: int) -> LanguageModel:
    """New, with weights so large that what it says depends on the prompt and on the seed."""
    model = small.model(seed, width=64, context_tokens=1024)
    with torch.no_grad():
        for weights in model.network.parameters():
            weights.mul_(4 if weights.dim() > 1 else 1)
    return model


OLD, NEW = a_model(0), a_model(5)
LONG = "def solve(xs):\n" + "".join(f"    x{n} = xs[{n}] + {n}\n" for n in range(20))
"""Longer than the blocks in which vLLM keeps what it computed of prompts."""


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[VllmEngine]:
    found = VllmEngine(folder / "old", Vllm(kv_cache_bytes=1 << 28), "float32")
    yield found
    found.close()


@pytest.fixture
def sampler(engine: VllmEngine, folder: Path) -> Callable[..., VllmSampler]:
    engine.load(folder / "old")

    def made(seed: int = 1, **settings: object) -> VllmSampler:
        chosen = Sampling.model_validate({"max_response_tokens": 12, "stop_at": (), **settings})
        return VllmSampler(engine, chosen, tokenizer=OLD.tokenizer, origin=ORIGIN, seed=seed, stage="test")

    return made


def requests(temperature: float, prompts: Sequence[str] = (LONG, *small.TEXTS)) -> list[Request]:
    return [Request(id=str(n), task_id="t", prompt=prompts[n % len(prompts)], temperature=temperature) for n in range(12)]


def sample(sampler: Sampler, wanted: Sequence[Request], stop: threading.Event | None = None) -> list[Candidate]:
    """In the order in which they left."""
    left: list[Candidate] = []
    sampler.sample(wanted, left.append, stop or threading.Event())
    return left


def by_id(candidates: Sequence[Candidate]) -> list[Candidate]:
    return sorted(candidates, key=lambda candidate: int(candidate.id))


def described(candidates: Sequence[Candidate]) -> list[tuple[str, str, int, bool]]:
    return [(c.id, c.completion, c.tokens, c.truncated) for c in by_id(candidates)]


def greedy_of_transformers(model: LanguageModel) -> list[tuple[str, str, int, bool]]:
    chosen = Sampling(max_response_tokens=12, stop_at=())
    return described(sample(TransformersSampler(model, chosen, origin=ORIGIN, seed=1, stage="test"), requests(0.0)))


def test_greedy_candidates_equal_those_of_transformers(sampler: Callable[..., VllmSampler]) -> None:
    """Text, number of tokens, and whether they were cut off."""
    assert described(sample(sampler(), requests(0.0))) == greedy_of_transformers(OLD)


def test_new_weights_sample_as_they_do_in_transformers(
    sampler: Callable[..., VllmSampler], engine: VllmEngine, folder: Path
) -> None:
    """Nothing of the old ones is left, not even what was computed of the same prompts; and the way back works."""
    old = described(sample(sampler(), requests(0.0)))
    engine.load(folder / "new")
    assert described(sample(sampler(), requests(0.0))) == greedy_of_transformers(NEW) != old
    engine.load(folder / "old")
    assert described(sample(sampler(), requests(0.0))) == old


def test_the_same_seed_samples_the_same(sampler: Callable[..., VllmSampler]) -> None:
    """Several samples of one prompt differ; another seed samples something else."""
    first = described(sample(sampler(), requests(1.0)))
    assert described(sample(sampler(), requests(1.0))) == first
    assert described(sample(sampler(seed=2), requests(1.0))) != first
    assert len({completion for _, completion, _, _ in first}) > len({LONG, *small.TEXTS})


def test_candidates_leave_as_they_finish(sampler: Callable[..., VllmSampler]) -> None:
    """Those that end early do not wait for those that go on to the limit."""
    left = sample(sampler(max_response_tokens=300), requests(1.0))
    cut_off = [candidate.truncated for candidate in left]
    assert 0 < sum(cut_off) < len(left)
    assert cut_off == sorted(cut_off)


def test_a_mark_ends_a_response(sampler: Callable[..., VllmSampler]) -> None:
    """No tokens are spent on what follows it."""
    [plain, *_] = by_id(sample(sampler(max_response_tokens=60), requests(0.0)))
    mark = plain.completion[5:7]
    [marked, *_] = by_id(sample(sampler(max_response_tokens=60, stop_at=(mark,)), requests(0.0)))
    assert (marked.completion, marked.truncated) == (cut(plain.completion, (mark,))[0], False)
    assert marked.tokens < plain.tokens


def test_a_stop_ends_the_sampling_early(sampler: Callable[..., VllmSampler]) -> None:
    """The requests under way are taken back."""
    stop = threading.Event()
    stop.set()
    assert sample(sampler(max_response_tokens=500), requests(1.0), stop) == []


def test_a_prompt_longer_than_the_context_is_one_line(sampler: Callable[..., VllmSampler]) -> None:
    """It names the request and the cure, and the engine goes on."""
    with pytest.raises(
        SamplerError, match=r"vLLM refuses 0 with \d+ tokens: .*; raise vllm\.context_tokens, or leave that task out"
    ):
        sample(sampler(), requests(0.0, ["x = 1\n" * 2000])[:1])
    assert len(sample(sampler(), requests(0.0))) == 12


def test_a_run_samples_every_round_from_its_own_weights(tmp_path: Path) -> None:
    """A whole run, small: what it evaluates after start and round is what transformers says with the model saved there."""
    changes = {
        "model": {"width": 64, "layers": 1, "heads": 2, "vocabulary_tokens": 320},
        "sampling": {"sampler": "vllm", "max_response_tokens": 12, "temperatures": (1.0,), "stop_at": adapted.MARKS},
        "training": {"rounds": 1, "epochs": 3, "batch_tasks": 2, "learning_rate": 0.03},
    }
    recipe = Recipe.model_validate({**small.recipe(tmp_path).model_dump(), **changes})
    folder = open_run(recipe)
    run(recipe, folder, FakeExecutor().connect, Screen(Console(quiet=True)))
    folder.close()
    said = {stage: adapted.evaluated(folder.path, stage) for stage in ("start", "round-1")}
    assert said == {stage: adapted.said_by_itself(folder.path, stage) for stage in said}
    assert said["start"] != said["round-1"]
    assert {c["model"] for c in adapted.candidates(folder.path, "round-1/evaluation")} == {
        revision(folder.path / "round-1/model")
    }


def test_rounds_of_adapters_hand_over_merged_weights(tmp_path: Path) -> None:
    """vLLM takes up what each round merged: it says what transformers says with the saved model, and no round says the same."""
    folder = adapted.run_adapted(tmp_path, "vllm")
    for stage in ("round-1", "round-2"):
        assert adapted.evaluated(folder, stage) == adapted.said_by_itself(folder, stage)
    assert {c["model"] for c in adapted.candidates(folder, "round-2/samples")} == {revision(folder / "round-1/model")}
    said = [adapted.evaluated(folder, stage) for stage in ("start", "round-1", "round-2")]
    assert said[0] != said[1] != said[2]
