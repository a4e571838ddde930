"""A run of two rounds that train adapters, and what the models that it saved say by themselves."""

import threading
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from tests.trainer import small
from tests.trainer.fakes import FakeExecutor
from trainer.execution import code_of
from trainer.language_model import load
from trainer.main import run
from trainer.recipe import Recipe
from trainer.records import Candidate, Request, read_lines
from trainer.run_folder import open_run
from trainer.sampling.sampler import Origin
from trainer.sampling.settings import Sampling
from trainer.sampling.transformers import TransformersSampler
from trainer.screen import Screen
from trainer.tasks import PROBLEMS, read

MARKS = ("e", "a", "n")
"""So that some candidates of an untrained model end, and are trained on."""


def run_adapted(folder: Path, sampler: str) -> Path:
    """Its folder. Weights and steps are so large that each round says something else."""
    model = small.model(width=64, context_tokens=256)
    with torch.no_grad():
        for weights in model.network.parameters():
            weights.mul_(4 if weights.dim() > 1 else 1)
    model.save(folder / "model")
    changes: dict[str, Any] = {
        "model": {"path": str(folder / "model")},
        "sft": {"epochs": 0},
        "sampling": {"sampler": sampler, "max_response_tokens": 12, "temperatures": (1.0,), "stop_at": MARKS},
        "training": {"rounds": 2, "epochs": 3, "batch_tasks": 2, "learning_rate": 0.03},
        "lora": {"rank": 4},
    }
    recipe = Recipe.model_validate({**small.recipe(folder).model_dump(), **changes})
    made = open_run(recipe)
    run(recipe, made, FakeExecutor().connect, Screen(Console(quiet=True)))
    made.close()
    return made.path


def candidates(folder: Path, stage: str) -> list[dict[str, Any]]:
    """That a stage had executed."""
    return [line["candidate"] for line in read_lines(folder / stage / "outcomes.jsonl")]


def evaluated(folder: Path, stage: str) -> dict[str, str]:
    """What the run's sampler answered to each held-out task."""
    return {candidate["task_id"]: candidate["completion"] for candidate in candidates(folder, f"{stage}/evaluation")}


def said_by_itself(folder: Path, stage: str) -> dict[str, str]:
    """What the saved model of a stage, loaded by transformers as a plain one, answers to the same tasks."""
    problems = {problem.task_id: problem for problem in read(str(folder / "tasks" / PROBLEMS))}
    requests = [
        Request(id=name, task_id=name, prompt=problems[name].prompt, temperature=0.0) for name in evaluated(folder, stage)
    ]
    settings, origin = Sampling(max_response_tokens=12, stop_at=MARKS), Origin(sampler="test", model="test")
    found: list[Candidate] = []
    sampler = TransformersSampler(load(folder / stage / "model"), settings, origin=origin, seed=0, stage="test")
    sampler.sample(requests, found.append, threading.Event())
    return {response.task_id: code_of(response, problems[response.task_id]).completion for response in found}
