"""Sampling from servers that speak OpenAI's API, such as `vllm serve`.

One call for each request, many under way, shared by all addresses; a candidate is handed on when its call returns. Prompts are
sent as tokens, made as for training, or as text where a server takes no tokens; or as a message of a chat, whose response is
taken as it comes, prose included (trainer.extraction finds the code).
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

from trainer.errors import SamplerError
from trainer.extraction import cut
from trainer.records import Candidate, Request
from trainer.sampling.concurrent import answer_each
from trainer.sampling.sampler import Emit, Origin
from trainer.sampling.settings import Ask, Sampling, Server
from trainer.seeds import derive_seed
from trainer.served import Served, look_at_all
from trainer.servers import Servers

_SEED_BITS = 31
"""Servers that keep the seed in 32 bits with a sign are common."""
_NOTHING_OF_ITS_OWN = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
"""vLLM fills up what it is not told with the model's own settings. Others may refuse keys that OpenAI's API does not have."""


class OpenAISampler:
    """`tokens_of` turns a prompt into tokens; it is called only where prompts are sent as tokens."""

    def __init__(
        self,
        server: Server,
        settings: Sampling,
        *,
        ask: Ask,
        section: str,
        tokens_of: Callable[[str], list[int]],
        origin: Origin,
        seed: int,
        stage: str,
    ) -> None:
        self._server, self._settings, self._ask, self._section = server, settings, ask, section
        self._tokens_of, self._origin, self._seed, self._stage = tokens_of, origin, seed, stage

    def sample(self, requests: Sequence[Request], emit: Emit, stop: threading.Event) -> None:
        asyncio.run(self._sample(requests, emit, stop))

    async def _sample(self, requests: Sequence[Request], emit: Emit, stop: threading.Event) -> None:
        async with Servers(self._server, self._section) as servers:
            served = await look_at_all(servers.client, self._server, self._section)

            async def answer(request: Request) -> Candidate:
                return await self._answer(servers, served, request)

            await answer_each(requests, answer, emit, stop, servers.at_once)

    async def _answer(self, servers: Servers, served: Served, request: Request) -> Candidate:
        seed = derive_seed(self._seed, self._stage, request.id) % 2**_SEED_BITS
        settings: dict[str, Any] = {
            "model": served.model,
            "max_tokens": self._settings.max_response_tokens,
            "temperature": request.temperature,
            "top_p": self._settings.top_p,
            "seed": seed,
            **(_NOTHING_OF_ITS_OWN if served.version else {}),
        }
        if self._ask == "chat":
            messages = [{"role": "user", "content": request.prompt}]
            reply = await servers.post("chat/completions", {**settings, "messages": messages})
            text = str((self._choice(reply).get("message") or {}).get("content") or "")
        else:
            prompt = self._tokens_of(request.prompt) if self._ask == "tokens" else request.prompt
            marks = self._settings.marks(request)
            stop_at = {"stop": list(marks)} if marks else {}
            reply = await servers.post("completions", {**settings, **stop_at, "prompt": prompt})
            text = _up_to_the_mark(self._choice(reply), marks)
        tokens = int((reply.get("usage") or {}).get("completion_tokens") or 0)
        truncated = self._choice(reply).get("finish_reason") == "length"
        return self._origin.candidate(request, text, seed=seed, tokens=tokens, truncated=truncated)

    def _choice(self, reply: Any) -> dict[str, Any]:
        try:
            choice: dict[str, Any] = reply["choices"][0]
        except (KeyError, IndexError, TypeError) as error:
            raise SamplerError(f"{self._section}.addresses: an answer has no choices; is it an API of OpenAI's kind?") from error
        return choice


def _up_to_the_mark(choice: dict[str, Any], marks: Sequence[str]) -> str:
    """Servers leave the mark out; where one says which it was, the line break that opens it is put back."""
    mark = choice.get("stop_reason")
    text = str(choice.get("text") or "") + (mark if isinstance(mark, str) else "")
    return cut(text, marks)[0]
