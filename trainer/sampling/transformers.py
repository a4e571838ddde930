"""Sampling responses with transformers' `generate`, each handed on the moment it ends.

Requests of one temperature with prompts of similar length make a batch. After every generated token a hook looks at the rows:
one that wrote the end token leaves at once through `emit`, while the others go on. Marks that end a response (see
trainer.extraction) are looked for every few tokens, since that needs decoding. The seed of a batch follows from the run's
seed, the stage and the batch's number; a batch that was interrupted is sampled again as a whole, so that its rows come out alike.

A static cache has room for the longest prompt with the longest response, for every batch the same: then `generate` compiles the
network, which it does on GPUs alone. Its default would record CUDA graphs, which belong to the thread that recorded the first;
sampling has a thread of its own, a new one in each round, so they are left out.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers import CompileConfig, GenerationConfig, StoppingCriteria, StoppingCriteriaList

from trainer.batches import pad_prompts
from trainer.extraction import cut
from trainer.language_model import LanguageModel
from trainer.records import Request
from trainer.sampling.sampler import Emit, Origin
from trainer.sampling.settings import Sampling
from trainer.seeds import derive_seed

_LOOK_FOR_MARKS_EVERY = 8


def batches(requests: Sequence[Request], rows: int) -> Iterator[list[Request]]:
    """What is sampled together, at most so many rows of it; the same for the same requests."""
    for temperature in sorted({request.temperature for request in requests}):
        near = sorted((r for r in requests if r.temperature == temperature), key=lambda r: (len(r.prompt), r.id))
        for start in range(0, len(near), rows):
            yield near[start : start + rows]


class TransformersSampler:
    """The model in this process, for CPUs and small runs."""

    def __init__(self, model: LanguageModel, settings: Sampling, *, origin: Origin, seed: int, stage: str) -> None:
        self._model, self._settings, self._origin = model, settings, origin
        self._seed, self._stage = seed, stage

    @torch.inference_mode()
    def sample(self, requests: Sequence[Request], emit: Emit, stop: threading.Event) -> None:
        self._model.network.eval()
        cache = self._cache(requests)
        for number, batch in enumerate(batches(requests, self._settings.batch_rows)):
            if stop.is_set():
                return
            if all(request.sampled for request in batch):
                continue
            self._sample_batch(batch, derive_seed(self._seed, self._stage, number), emit, stop, cache)

    def _sample_batch(
        self, batch: Sequence[Request], seed: int, emit: Emit, stop: threading.Event, cache: Mapping[str, Any]
    ) -> None:
        rows = pad_prompts(self._model, [self._model.prompt_ids(request.prompt) for request in batch])
        hook = _LeaveWhenDone(self._model, self._settings, self._origin, batch, seed, emit, stop, rows.tokens_NT.shape[1])
        config = self._generation_config(batch[0].temperature, cache)
        torch.manual_seed(seed)
        with _nothing_of_its_own(self._model.network):
            tokens = self._model.network.generate(
                input_ids=rows.tokens_NT,
                attention_mask=rows.attended_NT,
                generation_config=config,
                stopping_criteria=StoppingCriteriaList([hook]),
            )
        if not stop.is_set():
            hook.emit_cut_off(tokens)

    def _cache(self, requests: Sequence[Request]) -> Mapping[str, Any]:
        """What `generate` is told of it."""
        if self._settings.cache == "dynamic" or not requests:
            return {}
        longest = max(len(self._model.prompt_ids(prompt)) for prompt in {request.prompt for request in requests})
        room = longest + self._settings.max_response_tokens
        compiled = {} if self._model.device.type == "cpu" else {"compile_config": CompileConfig(mode="default")}
        return {"cache_implementation": "static", "max_cache_len": room, **compiled}

    def _generation_config(self, temperature: float, cache: Mapping[str, Any]) -> GenerationConfig:
        chance = {"do_sample": True, "temperature": temperature, "top_p": self._settings.top_p, "top_k": 0}
        return GenerationConfig(
            max_new_tokens=self._settings.max_response_tokens,
            eos_token_id=self._model.end_ids,
            pad_token_id=self._model.pad_id,
            **cache,
            **(chance if temperature > 0 else {"do_sample": False}),
        )


@contextmanager
def _nothing_of_its_own(network: Any) -> Iterator[None]:
    """`generate` fills up what it is not told with the model's own settings, such as a penalty for repetitions."""
    its_own, network.generation_config = network.generation_config, GenerationConfig()
    try:
        yield
    finally:
        network.generation_config = its_own


class _LeaveWhenDone(StoppingCriteria):
    """Emits every row once, when it ends; says which rows have ended, as `generate` asks after each token."""

    def __init__(
        self,
        model: LanguageModel,
        settings: Sampling,
        origin: Origin,
        batch: Sequence[Request],
        seed: int,
        emit: Emit,
        stop: threading.Event,
        prompt_columns: int,
    ) -> None:
        self._model, self._settings, self._batch, self._seed = model, settings, batch, seed
        self._origin, self._emit, self._stop, self._first = origin, emit, stop, prompt_columns
        self._left = [False] * len(batch)
        self._ends = torch.tensor(model.end_ids, device=model.device)

    def __call__(self, input_ids: torch.LongTensor, scores: Any, **_: Any) -> torch.BoolTensor:
        length = input_ids.shape[1] - self._first
        ended = torch.isin(input_ids[:, -1], self._ends).tolist()
        look = length % _LOOK_FOR_MARKS_EVERY == 0
        for row, left in enumerate(self._left):
            if not left and (ended[row] or (look and self._settings.marks(self._batch[row]))):
                self._leave(row, input_ids[row, self._first :].tolist(), ended=ended[row], last_chance=False)
        everyone = self._stop.is_set()
        return torch.tensor([left or everyone for left in self._left], device=input_ids.device)  # type: ignore[return-value]

    def emit_cut_off(self, tokens: torch.Tensor) -> None:
        """Emits the rows that reached the token limit."""
        for row, left in enumerate(self._left):
            if not left:
                self._leave(row, tokens[row, self._first :].tolist(), ended=False, last_chance=True)

    def _leave(self, row: int, ids: list[int], *, ended: bool, last_chance: bool) -> None:
        request = self._batch[row]
        text, marked = cut(self._model.text(ids), self._settings.marks(request))
        if not (ended or marked or last_chance):
            return
        self._left[row] = True
        self._emit(self._origin.candidate(request, text, seed=self._seed, tokens=len(ids), truncated=not (ended or marked)))
