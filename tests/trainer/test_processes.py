"""Several processes end where one does; real ones, that talk through gloo."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainer import small
from trainer import language_model
from trainer.language_model import load
from trainer.recipe import Model

ROOT = Path(__file__).parents[2]
ALONE = (sys.executable, "-m")
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m")
ACCELERATE = (sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "2", "--main_process_port", "0")


def launch(*command: str, wanted: int = 0) -> str:
    """What it said; it ends with the exit code that is wanted."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == wanted, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("processes")


def found(folder: Path, launcher: Sequence[str], *arguments: str, wanted: int = 0) -> Any:
    """What processes found that trained, side by side where there are several; launched once."""
    size = 1 if launcher is ALONE else 2
    folder.mkdir(exist_ok=True)
    file = folder / f"{arguments[0]}-{size}.pt"
    if not file.exists():
        launch(*launcher, "tests.trainer.side_by_side", str(folder), *arguments, wanted=wanted)
    return torch.load(file) if file.exists() else None


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("how", ["copies", "shards"])
@pytest.mark.parametrize("case", ["rrtf, full", "rrtf, LoRA", "dpo, full", "dpo, LoRA", "dpo, uneven"])
def test_two_processes_end_where_one_does(folder: Path, how: str, case: str) -> None:
    """Losses, gradient norms, counts of pairs and all weights, to rounding."""
    one, two = found(folder, ALONE, "copies")[case], found(folder, TORCHRUN, how)[case]
    for alone, together in zip(one["metrics"], two["metrics"], strict=True):
        assert together == pytest.approx(alone, rel=1e-5, abs=1e-7)
    assert one["weights"].keys() == two["weights"].keys()
    for name, weight in one["weights"].items():
        assert torch.allclose(two["weights"][name], weight, rtol=1e-3, atol=1e-5), name


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_shards_in_bfloat16_learn_as_one_process_does(folder: Path) -> None:
    """Losses and gradient norms, as far as bfloat16 has digits."""
    one, two = found(folder, ALONE, "copies")["rrtf, bfloat16"], found(folder, TORCHRUN, "shards")["rrtf, bfloat16"]
    for alone, together in zip(one["metrics"], two["metrics"], strict=True):
        assert together == pytest.approx(alone, rel=1e-2)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_each_process_holds_its_shards_alone(folder: Path) -> None:
    """Half of all numbers while training, where a copy is all of them."""
    [whole] = found(folder, ALONE, "copies")["rrtf, full"]["held"]
    assert found(folder, TORCHRUN, "copies")["rrtf, full"]["held"] == [whole, whole]
    shards = found(folder, TORCHRUN, "shards")["rrtf, full"]["held"]
    assert sum(shards) == whole
    assert shards == pytest.approx([whole / 2] * 2, rel=0.01)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("launcher", [TORCHRUN, ALONE], ids=["sharded again", "by one process"])
def test_a_sharded_training_goes_on_from_its_checkpoint(tmp_path: Path, folder: Path, launcher: Sequence[str]) -> None:
    """After SIGKILL in the midst of it, by as many processes to the same bits, by one to the same weights."""
    whole = found(folder / "whole", TORCHRUN, "shards", "-1")
    found(tmp_path, TORCHRUN, "shards", "3", wanted=1)
    continued = found(tmp_path, launcher, "shards", "-1")
    assert [step["step"] for step in continued["metrics"]] == [3, 4, 5]
    for name, weight in whole["weights"].items():
        if launcher is TORCHRUN:
            assert torch.equal(continued["weights"][name], weight), name
        else:
            assert torch.allclose(continued["weights"][name], weight), name


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_each_process_goes_on_with_its_own_chance(tmp_path: Path) -> None:
    """With dropout, after SIGKILL: the same bits again. One process goes on from such a checkpoint, too."""
    whole = found(tmp_path / "whole", TORCHRUN, "copies", "-1", "dropout")
    found(tmp_path, TORCHRUN, "copies", "3", "dropout", wanted=1)
    kept = (tmp_path / "checkpoint.pt").read_bytes()
    continued = found(tmp_path, TORCHRUN, "copies", "-1", "dropout")
    assert [step["step"] for step in continued["metrics"]] == [3, 4, 5]
    for name, weight in whole["weights"].items():
        assert torch.equal(continued["weights"][name], weight), name
    (tmp_path / "checkpoint.pt").write_bytes(kept)
    assert [step["step"] for step in found(tmp_path, ALONE, "copies", "-1", "dropout")["metrics"]] == [3, 4, 5]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_who_follows_computes_as_the_recipe_says(tmp_path: Path) -> None:
    """With its threads, and deterministic operations only."""
    assert found(tmp_path, TORCHRUN, "settings") == (3, True)


COPIES = (*ACCELERATE, "--multi_gpu", "-m")
SHARDS = (*ACCELERATE, "--use_fsdp", "--fsdp_version", "2", "-m")
FULL, LORA, REPLICAS = {"lora": {"rank": 0}}, {"lora": {"rank": 4}}, {"sampling": {"sampler": "ray"}}


@pytest.mark.jail
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("launcher", "changes", "holds"),
    [(TORCHRUN, FULL, "a copy"), (COPIES, LORA, "a copy"), (SHARDS, REPLICAS, "a part")],
    ids=["full", "LoRA, by accelerate", "shards and replicas, by accelerate"],
)
def test_a_run_of_two_processes(tmp_path: Path, launcher: Sequence[str], changes: dict[str, dict[str, Any]], holds: str) -> None:
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
    }
    settings = {section: {**settings.get(section, {}), **changes.get(section, {})} for section in settings | changes}
    flags = [f"--set={section}.{key}={json.dumps(value)}" for section, keys in settings.items() for key, value in keys.items()]
    assert f"starting 2 processes, each with {holds} of the weights" in launch(*launcher, "trainer.main", *flags)
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["two"]
    folder = tmp_path / "runs/two"
    assert (folder / "report.html").exists()
    assert (folder / "round-1/model/adapter/adapter_config.json").exists() == bool(changes.get("lora", {}).get("rank"))
    assert load(folder / "round-1/model").network.num_parameters() == load(tmp_path / "model").network.num_parameters()
    assert len((folder / "round-1/model/steps.jsonl").read_text().splitlines()) == 2
