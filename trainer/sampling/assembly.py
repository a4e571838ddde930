"""Which sampler a recipe asks for: the one place where samplers are made, for the model that is trained and for a teacher."""

import asyncio
import importlib.metadata
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import torch

from trainer import language_model
from trainer.errors import SamplerError
from trainer.language_model import LanguageModel
from trainer.recipe import Recipe
from trainer.revision import revision
from trainer.sampling import cluster, vllm
from trainer.sampling.openai import OpenAISampler
from trainer.sampling.reloading import EXTENSION, METHOD
from trainer.sampling.replicas import Replicas, ReplicasSampler
from trainer.sampling.sampler import Origin, Sampler
from trainer.sampling.settings import Ask, SamplerName, Sampling, Server
from trainer.sampling.shares import at_once, shares
from trainer.sampling.transformers import TransformersSampler
from trainer.sampling.vllm import VllmEngine, VllmSampler
from trainer.served import Served, look_at_all, post_to_all
from trainer.servers import client

type Load = Callable[[], LanguageModel]


class Samplers:
    """The samplers of one run. Replicas, and engines of vLLM, one for the model and one for a teacher, live as long as this."""

    def __init__(self, recipe: Recipe, say: Callable[[str], None] = lambda _: None) -> None:
        self._recipe, self._say = recipe, say
        self._engines: dict[str, VllmEngine] = {}
        self._replicas: Replicas | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for engine in self._engines.values():
            engine.close()
        if self._replicas:
            self._replicas.close()

    def of_model(self, path: str | Path, load: Load, stage: str) -> Sampler:
        """What samples from the model at `path`; `load` gives that model where it is sampled in this process.

        Servers that keep their weights sample the candidates of the only round; evaluations are then sampled in this process, so
        that those before and after the training can be compared. Raises SamplerError.
        """
        settings, servers, seed = self._recipe.sampling, self._recipe.openai, self._recipe.run.seed
        if settings.sampler == "vllm":
            return self._of_vllm("model", path, self._recipe.model.dtype, settings, stage)
        if settings.sampler == "ray":
            return self._of_replicas(path, settings, stage)
        if settings.sampler == "openai" and servers.reload:
            asyncio.run(_reload(servers, str(Path(path).resolve())))
        if settings.sampler == "openai" and (servers.reload or stage.endswith("/samples")):
            return self._of_servers(servers, "openai", servers.ask, path, settings, stage, reloaded=servers.reload)
        return transformers_sampler(path, load(), settings, seed, stage)

    def of_teacher(self, load: Load, stage: str) -> Sampler:
        """What samples from the recipe's teacher model. Raises SamplerError."""
        teacher, seed = self._recipe.teacher, self._recipe.run.seed
        settings = teacher.sampling(self._recipe.sampling)
        if teacher.sampler == "vllm":
            return self._of_vllm("teacher", teacher.path, teacher.dtype, settings, stage)
        if teacher.sampler == "openai":
            return self._of_servers(teacher, "teacher", teacher.ask, teacher.path, settings, stage)
        return transformers_sampler(teacher.path, load(), settings, seed, stage)

    def _of_vllm(self, whose: str, path: str | Path, dtype: str, settings: Sampling, stage: str) -> Sampler:
        if whose not in self._engines:
            self._engines[whose] = VllmEngine(path, self._recipe.vllm, dtype)
        engine = self._engines[whose]
        engine.load(path)
        origin = Origin(sampler=vllm.version(), model=revision(path))
        tokenizer, seed = language_model.look(path), self._recipe.run.seed
        return VllmSampler(engine, settings, tokenizer=tokenizer, origin=origin, seed=seed, stage=stage)

    def _of_replicas(self, path: str | Path, settings: Sampling, stage: str) -> Sampler:
        """Each replica has samplers as this, but of the kind that it holds."""
        recipe, ray = self._recipe, self._recipe.ray
        if self._replicas is None:
            held = recipe.model_copy(update={"sampling": settings.model_copy(update={"sampler": ray.sampler})})
            shares_at_once = at_once(ray.sampler, recipe.vllm.requests_at_once)
            self._replicas = Replicas(ray, shares_at_once, partial(Samplers, held), partial(_load_in_replica, recipe))
        everywhere = str(Path(path).resolve()) if Path(path).is_dir() else str(path)
        return ReplicasSampler(self._replicas, everywhere, stage, lambda requests: shares(requests, ray.sampler, settings))

    def _of_servers(
        self,
        servers: Server,
        section: str,
        ask: Ask,
        path: str | Path,
        settings: Sampling,
        stage: str,
        *,
        reloaded: bool = False,
    ) -> Sampler:
        """`path` may be empty for a model that lies on the server alone, unless prompts go as tokens."""
        served = look(servers, section)
        if is_another := bool(path and served.root) and not reloaded and not _is_same(served.root, path):
            self._say(f"  {section}.addresses serve {served.root}, which may not be {path}: samples are marked as the former's")
        model = f"served:{served.root or served.model}" if is_another or not path else revision(path)
        tokenizer = language_model.look(path) if ask == "tokens" else None
        return OpenAISampler(
            servers,
            settings,
            ask=ask,
            section=section,
            tokens_of=lambda prompt: language_model.prompt_ids(tokenizer, prompt),
            origin=Origin(sampler=f"openai {served.version}".rstrip(), model=model),
            seed=self._recipe.run.seed,
            stage=stage,
        )


def _is_same(served: str, path: str | Path) -> bool:
    """Whether both name one model: a folder, its copy, or what a hub's cache keeps under the name of the other."""
    if Path(served).resolve() == Path(path).resolve():
        return True
    in_cache = [
        f"models--{one.replace('/', '--')}" in Path(other).parts for one, other in ((served, str(path)), (str(path), served))
    ]
    return any(in_cache) or (Path(served).is_dir() and Path(path).is_dir() and revision(served) == revision(path))


def transformers_sampler(
    path: str | Path, model: LanguageModel, settings: Sampling, seed: int, stage: str
) -> TransformersSampler:
    """The model in this process; `path` is where it came from."""
    origin = Origin(sampler=f"transformers {importlib.metadata.version('transformers')}", model=revision(path))
    return TransformersSampler(model, settings, origin=origin, seed=seed, stage=stage)


def _load_in_replica(recipe: Recipe, path: str) -> LanguageModel:
    """Ray shows a replica the GPUs that are its own, whatever their numbers are."""
    torch.use_deterministic_algorithms(recipe.run.deterministic)
    return language_model.load(path, recipe.model.dtype, "cpu" if recipe.run.device == "cpu" else "auto")


def check(recipe: Recipe) -> None:
    """Looks for what samples and what judges, before a run begins. Raises SamplerError."""
    teacher = recipe.teacher
    if recipe.sampling.sampler == "ray":
        cluster.check(recipe.ray, "sampling.sampler")
    else:
        _check_one(recipe.sampling.sampler, "sampling.sampler", recipe.openai, "openai")
    if teacher.sampler != "none":
        _check_one(teacher.sampler, "teacher.sampler", teacher, "teacher")
    if teacher.score == "judge":
        look(teacher, "teacher")


def _check_one(name: SamplerName, key: str, servers: Server, section: str) -> None:
    if name == "openai":
        look(servers, section)
    elif name == "vllm":
        vllm.check(key)


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
