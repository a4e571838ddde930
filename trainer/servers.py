"""Calls to servers that speak OpenAI's API, at one address or several.

A call goes to the address with the fewest under way. An address that throttles (429), fails (5xx) or cannot be reached rests: for
as long as it says in Retry-After, otherwise longer each time it fails in a row. While it rests, calls go to the others; where all
rest, they wait. A call is repeated for `retry_ms` at most; what a server refuses for good (other 4xx) ends at once, as one line.
"""

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

import httpx2
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_before_delay

from trainer.errors import Refused, SamplerError
from trainer.sampling.settings import Server
from trainer.served import LOOK_S, reason

_PASSING = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})
_OF_THE_REQUEST = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY})
_FIRST_REST_S, _LONGEST_REST_S = 0.5, 30.0

type Sleep = Callable[[float], Awaitable[None]]


class _Passing(Exception):
    """A call that may succeed when it is repeated."""


@dataclass(kw_only=True, slots=True)
class _Address:
    url: str
    under_way: int = 0
    rests_until: float = 0.0
    failures: int = 0
    """In a row; those that come while it rests already are one."""


def client(settings: Server) -> httpx2.AsyncClient:
    """With the key that the recipe's variable of the environment holds, where it holds one."""
    key = os.environ.get(settings.key_variable, "")
    return httpx2.AsyncClient(
        headers={"Authorization": f"Bearer {key}"} if key else {},
        timeout=httpx2.Timeout(settings.timeout_ms / 1000, connect=LOOK_S),
        limits=httpx2.Limits(max_connections=None, max_keepalive_connections=settings.requests_at_once),
    )


class Servers:
    """`section` names the recipe's section in messages; tests bring a clock of their own."""

    def __init__(
        self, settings: Server, section: str, *, sleep: Sleep = asyncio.sleep, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings, self._section, self._sleep, self._now = settings, section, sleep, now
        self._addresses = [_Address(url=url.rstrip("/")) for url in settings.addresses]
        self.client = client(settings)

    @property
    def at_once(self) -> int:
        """How many calls are worth making at once."""
        return self._settings.requests_at_once * len(self._addresses)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.client.aclose()

    async def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """The JSON that a server answers with. Raises Refused where it will not look at this body, else SamplerError."""
        retrying = AsyncRetrying(
            sleep=self._sleep,
            wait=self._rest,
            stop=stop_before_delay(self._settings.retry_ms / 1000),
            retry=retry_if_exception_type(_Passing),
            reraise=True,
        )
        try:
            return await retrying(self._post_once, path, body)
        except _Passing as error:
            raise SamplerError(
                f"{self._section}.addresses: {error}, and so on for {self._settings.retry_ms / 1000:g} s; look after the server, "
                f"or raise {self._section}.retry_ms"
            ) from error

    async def _post_once(self, path: str, body: Mapping[str, Any]) -> Any:
        address = await self._next()
        address.under_way += 1
        try:
            answer = await self.client.post(f"{address.url}/{path}", json=body)
        except httpx2.TransportError as error:
            self._let_rest(address, None)
            raise _Passing(f"{address.url} cannot be reached ({reason(error)})") from error
        finally:
            address.under_way -= 1
        if answer.is_success:
            address.failures = 0
            return self._content(address, answer)
        said = f"{address.url} answers {answer.status_code}: {_message(answer)}"
        if answer.status_code in _PASSING or answer.is_server_error:
            self._let_rest(address, _seconds(answer.headers.get("Retry-After", "")))
            raise _Passing(said)
        raise (Refused if answer.status_code in _OF_THE_REQUEST else SamplerError)(f"{self._section}: {said}")

    def _content(self, address: _Address, answer: httpx2.Response) -> Any:
        try:
            return answer.json()
        except ValueError as error:
            raise SamplerError(f"{self._section}.addresses: what {address.url} answers is no JSON; is it the API?") from error

    async def _next(self) -> _Address:
        """The address with the fewest calls under way, once one does not rest."""
        while (rest := self._rest()) > 0:
            await self._sleep(rest)
        now = self._now()
        return min(self._addresses, key=lambda address: (address.rests_until > now, address.under_way))

    def _rest(self, _: RetryCallState | None = None) -> float:
        """Seconds until an address is free to be called."""
        return max(0.0, min(address.rests_until for address in self._addresses) - self._now())

    def _let_rest(self, address: _Address, asked_s: float | None) -> None:
        if asked_s is None and address.rests_until > self._now():
            return
        longest = min(_LONGEST_REST_S, _FIRST_REST_S * 2**address.failures)
        address.failures += 1
        seconds = random.uniform(longest / 2, longest) if asked_s is None else asked_s
        address.rests_until = max(address.rests_until, self._now() + seconds)


def _seconds(retry_after: str) -> float | None:
    """Of a Retry-After header, which is a number of seconds or a date."""
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass  # then it is a date, or nothing
    try:
        return max(0.0, (parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def _message(answer: httpx2.Response) -> str:
    try:
        content = answer.json()
        text = str(content.get("message") or content["error"]["message"])
    except (ValueError, KeyError, TypeError, AttributeError):
        text = answer.text
    return " ".join(text.split())[:300] or answer.reason_phrase
