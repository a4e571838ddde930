"""Which sampler a recipe asks for: the one place where samplers are made."""

import asyncio
import importlib.metadata
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from trainer import language_model
from trainer.errors import SamplerError
from trainer.language_model import LanguageModel
from trainer.recipe import Recipe
from trainer.revision import revision
from trainer.sampling import vllm
from trainer.sampling.openai import OpenAISampler
from trainer.sampling.reloading import EXTENSION, METHOD
from trainer.sampling.sampler import Origin, Sampler
from trainer.sampling.settings import Sampling, Server
from trainer.sampling.transformers import TransformersSampler
from trainer.sampling.vllm import VllmEngine, VllmSampler
from trainer.served import Served, look_at_all, post_to_all
from trainer.servers import client

type Load = Callable[[], LanguageModel]


class Samplers:
    """The samplers of one run: of each model that it makes, and of the teacher."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._engine: VllmEngine | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._engine is not None:
            self._engine.close()

    def of_model(self, path: str | Path, load: Load, stage: str) -> Sampler:
        """What samples from the model at `path`; `load` gives that model where it is sampled in this process.

        Servers that keep their weights sample the candidates of the only round; evaluations are then sampled in this process, so
        that those before and after the training can be compared. Raises SamplerError.
        """
        recipe = self._recipe
        if recipe.sampling.sampler == "openai" and (recipe.openai.reload or stage.endswith("/samples")):
            return self._of_server(path, stage)
        if recipe.sampling.sampler == "vllm":
            return self._of_vllm(path, stage)
        return transformers_sampler(path, load(), recipe.sampling, recipe.run.seed, stage)

    def _of_vllm(self, path: str | Path, stage: str) -> Sampler:
        if self._engine is None:
            self._engine = VllmEngine(path, self._recipe.vllm, self._recipe.model.dtype)
        self._engine.load(path)
        return VllmSampler(
            self._engine,
            self._recipe.sampling,
            tokenizer=language_model.look(path),
            origin=Origin(sampler=vllm.version(), model=revision(path)),
            seed=self._recipe.run.seed,
            stage=stage,
        )

    def _of_server(self, path: str | Path, stage: str) -> Sampler:
        settings = self._recipe.openai
        if settings.reload:
            asyncio.run(_reload(settings, str(Path(path).resolve())))
        served = look(settings, "openai")
        tokenizer = language_model.look(path) if settings.ask == "tokens" else None
        return OpenAISampler(
            settings,
            self._recipe.sampling,
            ask=settings.ask,
            section="openai",
            tokens_of=lambda prompt: language_model.prompt_ids(tokenizer, prompt),
            origin=Origin(sampler=f"openai {served.version}".rstrip(), model=revision(path)),
            seed=self._recipe.run.seed,
            stage=stage,
        )


def transformers_sampler(
    path: str | Path, model: LanguageModel, settings: Sampling, seed: int, stage: str
) -> TransformersSampler:
    """The model in this process; `path` is where it came from."""
    origin = Origin(sampler=f"transformers {importlib.metadata.version('transformers')}", model=revision(path))
    return TransformersSampler(model, settings, origin=origin, seed=seed, stage=stage)


def check(recipe: Recipe) -> None:
    """Looks for what samples, before a run begins. Raises SamplerError."""
    if recipe.sampling.sampler == "openai":
        look(recipe.openai, "openai")
    elif recipe.sampling.sampler == "vllm":
        vllm.check("sampling.sampler")


def look(settings: Server, section: str) -> Served:
    """What the servers of a section serve. Raises SamplerError."""

    async def looking() -> Served:
        async with client(settings) as connection:
            return await look_at_all(connection, settings, section)

    return asyncio.run(looking())


async def _reload(settings: Server, path: str) -> None:
    """vLLM's servers take up the weights at `path`, and forget what they computed of prompts with others."""
    async with client(settings) as connection:
        body = {"method": METHOD, "kwargs": {"weights_path": path}}
        try:
            await post_to_all(connection, settings, "openai", "collective_rpc", body)
            await post_to_all(connection, settings, "openai", "reset_prefix_cache", {})
        except SamplerError as error:
            cure = f"openai.reload needs VLLM_SERVER_DEV_MODE=1 vllm serve MODEL --worker-extension-cls {EXTENSION}"
            raise SamplerError(f"{error}; {cure}") from error
