"""Several processes end where one does; real ones, that talk through gloo."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainer import small
from trainer import language_model
from trainer.language_model import load
from trainer.recipe import Model

ROOT = Path(__file__).parents[2]
LAUNCH = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m")


def launch(*command: str) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """Of one process and of two."""
    folder = tmp_path_factory.mktemp("processes")
    launch(sys.executable, "-m", "tests.trainer.side_by_side", str(folder / "one.pt"))
    launch(*LAUNCH, "tests.trainer.side_by_side", str(folder / "two.pt"))
    one, two = (torch.load(folder / name) for name in ("one.pt", "two.pt"))
    return one, two


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("case", ["rrtf, full", "rrtf, LoRA", "dpo, full", "dpo, LoRA"])
def test_two_processes_end_where_one_does(outcomes: tuple[Any, Any], case: str) -> None:
    """Losses, gradient norms, counts of pairs and all weights, to rounding."""
    one, two = (outcome[case] for outcome in outcomes)
    for alone, together in zip(one["metrics"], two["metrics"], strict=True):
        assert together == pytest.approx(alone, rel=1e-5, abs=1e-7)
    assert one["weights"].keys() == two["weights"].keys()
    for name, weight in one["weights"].items():
        assert torch.allclose(two["weights"][name], weight, rtol=1e-3, atol=1e-5), name


@pytest.mark.jail
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("rank", [0, 4], ids=["full", "LoRA"])
def test_a_run_of_two_processes(tmp_path: Path, rank: int) -> None:
    """From the command line, on a model made before: one folder, one report, a model that loads, pairs that were learnt from."""
    sizes = Model(width=32, layers=1, heads=2, vocabulary_tokens=300, context_tokens=512)
    language_model.new(sizes, small.TEXTS, seed=0).save(tmp_path / "model")
    settings: dict[str, dict[str, object]] = {
        "run": {"folder": str(tmp_path / "runs"), "name": "two", "device": "cpu", "threads": 1},
        "tasks": {"train": 4, "held_out": 2, "start": 0},
        "model": {"path": str(tmp_path / "model")},
        "sft": {"epochs": 0},
        "sampling": {"max_response_tokens": 12, "temperatures": [1.0], "samples_per_temperature": 2, "stop_at": ["e", "a", "n"]},
        "training": {"rounds": 1, "epochs": 1, "batch_tasks": 2},
        "lora": {"rank": rank},
    }
    flags = [f"--set={section}.{key}={json.dumps(value)}" for section, keys in settings.items() for key, value in keys.items()]
    launch(*LAUNCH, "trainer.main", *flags)
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["two"]
    folder = tmp_path / "runs/two"
    assert (folder / "report.html").exists()
    assert (folder / "round-1/model/adapter/adapter_config.json").exists() == bool(rank)
    assert load(folder / "round-1/model").network.num_parameters() == load(tmp_path / "model").network.num_parameters()
    assert len((folder / "round-1/model/steps.jsonl").read_text().splitlines()) == 2
