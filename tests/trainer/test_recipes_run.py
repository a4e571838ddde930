"""Every recipe runs from the command line, small: on a model of Hugging Face's form that was made here, and the real engine."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.client import LocalEngine
from tests.trainer import small
from tests.trainer.sampling.completions_server import CompletionsServer, serving
from trainer import family
from trainer.language_model import load
from trainer.main import main
from trainer.records import write_lines

RECIPES = sorted(Path(__file__).parents[2].joinpath("recipes").glob("*.toml"))

pytestmark = [
    pytest.mark.jail,
    pytest.mark.slow,
    pytest.mark.timeout(300),  # one of them starts Ray
    pytest.mark.filterwarnings("ignore"),  # of Ray's own
]


@pytest.fixture(scope="module")
def engine() -> Iterator[str]:
    with LocalEngine() as engine:
        yield engine.address


def shrunk(folder: Path, engine: str, server: str) -> list[str]:
    """What makes any recipe one of seconds; how it samples and trains is left to it."""
    small.model(context_tokens=512).save(folder / "model")
    for name in ("train", "held_out"):
        write_lines(folder / f"{name}.jsonl", family.generate({name: 12}, 0))
    settings = {
        "run.folder": str(folder / "runs"),
        "run.name": "recipe",
        "run.device": "cpu",
        "run.threads": 1,
        "tasks.problems": str(folder / "train.jsonl"),
        "tasks.held_out_problems": str(folder / "held_out.jsonl"),
        "tasks.train": 6,
        "tasks.held_out": 3,
        "model.path": str(folder / "model"),
        "sft.epochs": 0,
        "sampling.max_response_tokens": 12,
        "sampling.stop_at": ["e", "a", "n"],
        "openai.addresses": [server],
        "ray.sampler": "transformers",
        "ray.cpus": 1,
        "ray.gpus": 0,
        "ray.replicas": 1,
        "ray.address": "",
        "training.batch_tasks": 3,
        "training.epochs": 1,
        "engine.address": engine,
    }
    return [f"--set={key}={json.dumps(value)}" for key, value in settings.items()]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_runs(recipe: Path, tmp_path: Path, engine: str) -> None:
    """To its report and a model that loads."""
    with serving(CompletionsServer(small.model(context_tokens=512))) as server:
        assert main([str(recipe), *shrunk(tmp_path, engine, server.address)]) == 0
    [folder] = (tmp_path / "runs").iterdir()
    assert (folder / "report.html").exists()
    [*_, model] = sorted(folder.glob("round-*/model"))
    assert load(model).network.num_parameters() == load(tmp_path / "model").network.num_parameters()
