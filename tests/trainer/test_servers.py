"""Calls that are repeated: how long an address rests, and when to give up."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from tests.trainer import small
from tests.trainer.sampling.completions_server import CompletionsServer, Failure, serving
from trainer.errors import SamplerError
from trainer.sampling.settings import Server
from trainer.servers import Servers

BODY = {"prompt": [1, 2], "max_tokens": 1, "temperature": 0.0, "seed": 0}


class Clock:
    """Time passes when somebody sleeps."""

    def __init__(self) -> None:
        self.time, self.slept = 100.0, [0.0]

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds


@pytest.fixture
def server() -> Iterator[CompletionsServer]:
    with serving(CompletionsServer(small.model())) as found:
        yield found


def post(clock: Clock, *addresses: str, calls: int = 1, retry_ms: int = 1_000_000) -> None:
    async def calling() -> None:
        settings = Server(addresses=addresses, retry_ms=retry_ms, key_variable="TEST_KEY_OF_SERVERS")
        async with Servers(settings, "openai", sleep=clock.sleep, now=clock.now) as servers:
            for _ in range(calls):
                await servers.post("completions", BODY)

    asyncio.run(calling())


def test_retry_after_in_seconds_is_honoured(server: CompletionsServer) -> None:
    """To the second."""
    clock = Clock()
    server.failures.append(Failure(status=429, headers={"Retry-After": "7"}))
    post(clock, server.address)
    assert sum(clock.slept) == 7


def test_retry_after_as_a_date_is_honoured(server: CompletionsServer) -> None:
    """Dates have no fractions of a second."""
    clock = Clock()
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=50), usegmt=True)
    server.failures.append(Failure(status=503, headers={"Retry-After": date}))
    post(clock, server.address)
    assert 45 < sum(clock.slept) <= 50


def test_rests_grow_with_failures_in_a_row(server: CompletionsServer) -> None:
    """Up to half a minute."""
    clock = Clock()
    server.failures.extend([Failure(status=500)] * 9)
    post(clock, server.address)
    rests = [seconds for seconds in clock.slept if seconds]
    assert len(rests) == 9
    assert rests[0] <= 0.5
    assert 15 <= rests[-1] <= 30


def test_while_one_address_rests_the_others_are_called(server: CompletionsServer) -> None:
    """Without a wait."""
    clock = Clock()
    with serving(CompletionsServer(small.model())) as throttled:
        throttled.failures.append(Failure(status=429, headers={"Retry-After": "500"}))
        post(clock, throttled.address, server.address, calls=4)
        assert (len(throttled.requests), len(server.requests)) == (1, 4)
    assert sum(clock.slept) == 0


def test_after_the_time_for_repeating_the_call_fails(server: CompletionsServer) -> None:
    """In one line that names the address and the setting."""
    server.failures.append(Failure(status=429, headers={"Retry-After": "3600"}, message="too many"))
    with pytest.raises(SamplerError, match=r"answers 429: too many, and so on for 5 s; .* raise openai\.retry_ms"):
        post(Clock(), server.address, retry_ms=5_000)


def test_a_connection_that_is_refused_is_repeated(server: CompletionsServer) -> None:
    """A server that is being started anew comes back."""
    clock = Clock()
    server.failures.extend([Failure(status=0)] * 2)
    post(clock, server.address)
    assert len(server.requests) == 3


def test_the_key_is_taken_from_the_environment(server: CompletionsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It never stands in a recipe."""
    monkeypatch.setenv("TEST_KEY_OF_SERVERS", "secret")
    post(Clock(), server.address)
    assert server.headers[0]["Authorization"] == "Bearer secret"
