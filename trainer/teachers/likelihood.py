"""How likely a teacher model finds a program: the geometric mean of the probabilities of its tokens.

    s = exp( (1 / |y|) * sum_t log P(y_t | x, y_<t) ),  from 0 to 1, whatever the length

Each program is computed alone, so its score depends on nothing that happens to be scored at the same time.
"""

import asyncio
import math

import torch

from engine.client import Problem
from trainer.language_model import LanguageModel
from trainer.logprobs import token_logprobs
from trainer.packing import Prompted
from trainer.prompts import Prompt


class Likelihood:
    """One program at a time: the model fills the machine."""

    workers = 1

    def __init__(self, model: LanguageModel, prompt: Prompt) -> None:
        self._model, self._prompt = model, prompt
        model.network.eval()

    async def score(self, problem: Problem, completion: str) -> float | None:
        return await asyncio.to_thread(self._likelihood, self._prompt(problem), completion)

    @torch.inference_mode()
    def _likelihood(self, prompt: str, completion: str) -> float:
        prompted = Prompted(prompt=self._model.prompt_ids(prompt), responses=([*self._model.response_ids(completion)],))
        logps, lengths = token_logprobs(self._model, [prompted])
        return math.exp(float(logps.sum() / lengths.sum()))
