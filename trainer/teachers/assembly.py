"""The teachers that a recipe asks for, ready to be asked."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cached_property

from engine.client import Problem
from trainer import language_model
from trainer.language_model import LanguageModel
from trainer.prompts import Prompt, instruction, prompt_of, requests_for
from trainer.recipe import Recipe
from trainer.records import Request
from trainer.sampling.assembly import Samplers
from trainer.sampling.sampler import Sampler
from trainer.served import look_at_all
from trainer.servers import Servers
from trainer.teachers.judge import Judge
from trainer.teachers.likelihood import Likelihood
from trainer.teachers.scorer import OpenScorer, Scorer


class Teachers:
    """What one run asks of its teachers."""

    def __init__(self, recipe: Recipe, samplers: Samplers) -> None:
        self._recipe, self._settings, self._samplers = recipe, recipe.teacher, samplers

    @property
    def answers(self) -> bool:
        """Whether a teacher model answers tasks."""
        return self._settings.sampler != "none"

    def requests(self, problems: Mapping[str, Problem], stage: str) -> list[Request]:
        """What the teacher model is asked."""
        temperatures = [self._settings.temperature] * self._settings.samples
        return requests_for(problems, self._prompt, temperatures, stage, of_teacher=True)

    def sampler(self, stage: str) -> Sampler:
        """What samples from it."""
        return self._samplers.of_teacher(lambda: self._model, stage)

    def scorer(self) -> OpenScorer | None:
        """What scores candidates, to be opened in the event loop that uses it; None where nobody does."""
        if self._settings.score == "likelihood":
            return self._likelihood
        return self._judge if self._settings.score == "judge" else None

    @asynccontextmanager
    async def _likelihood(self) -> AsyncIterator[Scorer]:
        yield Likelihood(self._model, prompt_of(self._settings.prompt, self._model.tokenizer))

    @asynccontextmanager
    async def _judge(self) -> AsyncIterator[Scorer]:
        async with Servers(self._settings, "teacher") as servers:
            served = await look_at_all(servers.client, self._settings, "teacher")
            yield Judge(servers, served.model, self._settings)

    @cached_property
    def _prompt(self) -> Prompt:
        if self._settings.sampler == "openai" and self._settings.ask == "chat":
            return instruction
        tokenizer = language_model.look(self._settings.path, "teacher.path") if self._settings.prompt == "chat" else None
        return prompt_of(self._settings.prompt, tokenizer, "teacher.prompt")

    @cached_property
    def _model(self) -> LanguageModel:
        return language_model.load(self._settings.path, self._settings.dtype, self._recipe.run.device, "teacher.path")
