"""What servers that speak OpenAI's API say of themselves; looked at before a run and when a sampler begins."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx2

from trainer.errors import SamplerError
from trainer.sampling.settings import Server

LOOK_S = 10.0
_NO_ANSWER = (httpx2.HTTPError, httpx2.InvalidURL, ValueError, KeyError, TypeError)


@dataclass(frozen=True, kw_only=True, slots=True)
class Served:
    model: str
    root: str
    """The folder or hub id of the model, where the server tells."""
    version: str
    """Of vLLM, which tells it beside the API; else empty."""


async def look_at_all(client: httpx2.AsyncClient, settings: Server, section: str) -> Served:
    """What the first address serves, once all of them were seen to serve the model. Raises SamplerError."""
    first, *_ = [await look(client, settings, section, url) for url in settings.addresses]
    return first


async def look(client: httpx2.AsyncClient, settings: Server, section: str, url: str) -> Served:
    """What is served at an address. Raises SamplerError."""
    try:
        answer = await client.get(f"{url.rstrip('/')}/models", timeout=LOOK_S)
        found = {str(model["id"]): str(model.get("root") or "") for model in answer.raise_for_status().json()["data"]}
    except _NO_ANSWER as error:
        raise SamplerError(
            f"{section}.addresses: no server answers at {url} ({reason(error)}); start one there, such as "
            "`vllm serve MODEL`, or correct the address, which ends in /v1 as a rule"
        ) from error
    name = _choose(found, settings, section, url)
    return Served(model=name, root=found[name], version=await _version(client, url))


async def post_to_all(client: httpx2.AsyncClient, settings: Server, section: str, path: str, body: Mapping[str, Any]) -> None:
    """One call to every address, beside the API. Raises SamplerError."""
    for address in settings.addresses:
        url = f"{_root(address)}/{path}"
        try:
            (await client.post(url, json=body)).raise_for_status()
        except httpx2.HTTPError as error:
            raise SamplerError(f"{section}.addresses: {url} fails ({reason(error)})") from error


def reason(error: Exception) -> str:
    """An error as part of a line."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def _choose(found: Mapping[str, str], settings: Server, section: str, url: str) -> str:
    if settings.model in found:
        return settings.model
    if len(found) == 1 and not settings.model:
        return next(iter(found))
    serves = f"{section}.model: {url} serves {', '.join(sorted(found)) or 'no model'}"
    raise SamplerError(f"{serves}; {f'{settings.model!r} is not among them' if settings.model else 'say which'}")


async def _version(client: httpx2.AsyncClient, url: str) -> str:
    try:
        answer = await client.get(f"{_root(url)}/version", timeout=LOOK_S)
        return f"vllm {answer.raise_for_status().json()['version']}"
    except _NO_ANSWER:
        return ""


def _root(url: str) -> str:
    return url.rstrip("/").removesuffix("/v1")
