"""A model, a recipe and outcomes small enough for tests."""

from pathlib import Path
from typing import Any

from trainer import language_model
from trainer.language_model import LanguageModel
from trainer.recipe import Model, Recipe
from trainer.records import Candidate, Outcome
from trainer.training import Schedule

TEXTS = ("def solve(x):\n    return x + 1\n", "def solve(s):\n    return s.upper()\n")


def model(seed: int = 0, width: int = 32, context_tokens: int = 128) -> LanguageModel:
    """A new model that has learnt nothing."""
    settings = Model(width=width, layers=2, heads=2, vocabulary_tokens=300, context_tokens=context_tokens)
    return language_model.new(settings, TEXTS, seed)


def schedule(**changed: Any) -> Schedule:
    """One pass over the tasks at a constant rate, all tasks in one step and at once."""
    settings: dict[str, Any] = {
        "epochs": 1,
        "batch_tasks": 100,
        "learning_rate": 1e-2,
        "warmup_steps": 0,
        "weight_decay": 0.0,
        "max_gradient_norm": 1.0,
        "micro_batch_tokens": 100_000,
    }
    return Schedule(**{**settings, **changed})


def recipe(folder: Path, **run: object) -> Recipe:
    """A whole run in a second or two."""
    return Recipe.model_validate(
        {
            "run": {"folder": str(folder), "name": "small", **run},
            "tasks": {"start": 16, "train": 8, "held_out": 6},
            "model": {"width": 32, "layers": 1, "heads": 2, "vocabulary_tokens": 320},
            "sft": {"epochs": 2, "batch_tasks": 8},
            "sampling": {
                "max_response_tokens": 12,
                "temperatures": (0.7, 1.0),
                "samples_per_temperature": 1,
                "stop_at": ("e", "a", "n"),  # so that a model that learnt nothing ends before it is cut off
            },
            "training": {"rounds": 2, "epochs": 1, "batch_tasks": 4},
        }
    )


def outcome(
    completion: str,
    verdict: str,
    *,
    teacher: bool = False,
    truncated: bool = False,
    task_id: str = "task",
    name: str = "c",
    teacher_score: float | None = None,
) -> Outcome:
    """What the engine said about one candidate."""
    candidate = Candidate(
        id=name,
        task_id=task_id,
        completion=completion,
        temperature=0.5,
        seed=1,
        tokens=3,
        truncated=truncated,
        teacher=teacher,
    )
    return Outcome(
        candidate=candidate,
        verdict=verdict,
        tests_passed=0,
        tests_total=0,
        trust="examined",
        error="",
        cpu_time_ms=1.0,
        teacher_score=teacher_score,
    )
