"""What decides what a stage makes, as hashes: settings, files, and what earlier stages made. See trainer.run_folder.

A setting that a stage does not look at is no input of it: runs that differ in it can share the stage.
"""

from functools import cached_property
from pathlib import Path

from trainer import fingerprint
from trainer.recipe import GENERATED, Recipe
from trainer.revision import revision
from trainer.run_folder import Inputs, RunFolder

_OF_ROUNDS = {"rounds", "epochs", "batch_tasks", "learning_rate", "warmup_steps"}
"""What the supervised start does not look at in `training`."""
_NOT_OF_SAMPLES = {"tasks", "sft", "objective", "training", "lora", "teacher"}


class StageInputs:
    """Of every stage of one run. What a stage stands on has to be there when its inputs are asked for."""

    def __init__(self, recipe: Recipe, folder: RunFolder) -> None:
        self._recipe, self._folder = recipe, folder
        self._settings = recipe.deciding()

    def of_tasks(self) -> Inputs:
        files = [path for path in (self._recipe.tasks.problems, self._recipe.tasks.held_out_problems) if path]
        hashes = [fingerprint.of_file(Path(path)) for path in files if path != GENERATED]
        is_started = self._recipe.sft.epochs > 0
        return {
            "settings": fingerprint.of_values(*(self._settings[name] for name in ("run", "tasks", "engine")), is_started),
            "problems": fingerprint.of_values(hashes),
        }

    def of_start(self) -> Inputs:
        training = {name: value for name, value in self._settings["training"].items() if name not in _OF_ROUNDS}
        settings = fingerprint.of_values(*(self._settings[name] for name in ("run", "model", "sft", "lora")), training)
        return {"settings": settings, "tasks": self._folder.fingerprint("tasks"), "model": self._of_model("")}

    def of_samples(self, number: int, model: str) -> Inputs:
        """`model` is the stage whose model is sampled; empty: the model as it came."""
        share = fingerprint.of_values(number, self._recipe.training.rounds)
        return {**self.of_evaluation(model), "share": share, "teacher": self._of_teaching(number)}

    def of_teacher(self, number: int) -> Inputs:
        """Of what a teacher model answers in a round."""
        settings = [self._settings[name] for name in ("run", "sampling", "teacher", "engine")]
        return {
            "settings": fingerprint.of_values(settings),
            "tasks": self._folder.fingerprint("tasks"),
            "share": fingerprint.of_values(number, self._recipe.training.rounds),
            "model": self._teacher_model,
        }

    def of_evaluation(self, model: str) -> Inputs:
        settings = {name: value for name, value in self._settings.items() if name not in _NOT_OF_SAMPLES}
        return {
            "settings": fingerprint.of_values(settings),
            "tasks": self._folder.fingerprint("tasks"),
            "model": self._of_model(model),
        }

    def of_round(self, number: int, model: str) -> Inputs:
        settings = [self._settings[name] for name in ("run", "model", "objective", "training", "lora")]
        return {
            "settings": fingerprint.of_values(settings),
            "samples": self._folder.fingerprint(f"round-{number}/samples"),
            "model": self._of_model(model),
        }

    def _of_model(self, stage: str) -> str:
        if stage:
            return self._folder.fingerprint(stage)
        return self._as_it_came

    def _of_teaching(self, number: int) -> str:
        """What teachers have to do with the candidates of a round: their answers and how they score."""
        answers = self._folder.fingerprint(f"round-{number}/teacher") if self._recipe.teacher.sampler != "none" else ""
        return fingerprint.of_values(self._settings["teacher"], self._teacher_model, answers)

    @cached_property
    def _teacher_model(self) -> str:
        return revision(self._recipe.teacher.path) if self._recipe.teacher.path else ""

    @cached_property
    def _as_it_came(self) -> str:
        return revision(self._recipe.model.path) if self._recipe.model.path else ""
