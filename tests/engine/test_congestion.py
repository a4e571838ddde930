"""What a client learns from refusals."""

import asyncio

import pytest

from engine.client.congestion import CongestionWindow
from engine.errors import Busy


class Engine:
    """Takes so many calls at once and refuses the others; counts both."""

    def __init__(self, room):
        self.room = room
        self.running = 0
        self.most_running = 0
        self.refused = 0
        self.answered = 0

    async def call(self):
        await asyncio.sleep(0)  # on its way
        if self.running >= self.room:
            self.refused += 1
            raise Busy(retry_after_ms=20)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        for _ in range(5):
            await asyncio.sleep(0)
        self.running -= 1
        self.answered += 1


async def through(window, engine, patience_s=0.0):
    async with window.place(asyncio.get_running_loop().time() + patience_s):
        await engine.call()


async def all_through(window, engine, count, patience_s=0.0):
    results = await asyncio.gather(*(through(window, engine, patience_s) for _ in range(count)), return_exceptions=True)
    assert all(result is None or isinstance(result, Busy) for result in results), results
    return results


async def test_nothing_is_held_back_before_the_first_refusal():
    engine = Engine(room=1_000)
    assert await all_through(CongestionWindow(), engine, 500) == [None] * 500
    assert engine.most_running == 500


async def test_after_a_refusal_the_engine_is_spared_what_it_would_refuse():
    """Of hundreds that come in its time only a few are sent in vain."""
    window, engine = CongestionWindow(), Engine(room=10)
    await all_through(window, engine, 20)
    in_vain = engine.refused
    for _ in range(10):
        await through(window, engine, patience_s=60)
        await all_through(window, engine, 50)
    assert engine.refused - in_vain <= 15
    assert engine.answered > 80


async def test_who_is_patient_gets_a_place_as_answers_come():
    """Every call is made in the end, and only those of the first burst were refused."""
    window, engine = CongestionWindow(), Engine(room=10)
    await all_through(window, engine, 20)
    in_vain = engine.refused
    results = await all_through(window, engine, 100, patience_s=60)
    assert results.count(None) >= 90
    assert engine.refused - in_vain <= 10


async def test_the_window_grows_again_when_the_engine_has_more_room():
    window, engine = CongestionWindow(), Engine(room=4)
    await all_through(window, engine, 8)
    engine.room = 1_000
    engine.most_running = 0
    await all_through(window, engine, 500, patience_s=60)
    assert engine.most_running >= 20


async def test_a_client_with_nothing_under_way_waits_as_long_as_the_engine_asked():
    """No answer could tell it of room."""
    window, engine = CongestionWindow(), Engine(room=0)
    loop = asyncio.get_running_loop()
    with pytest.raises(Busy):
        await through(window, engine)
    engine.room = 1
    with pytest.raises(Busy, match="retry_time_ms"):
        await through(window, engine)
    assert engine.refused == 1
    began = loop.time()
    await through(window, engine, patience_s=60)
    assert loop.time() - began >= 0.01
    assert engine.answered == 1


async def test_whoever_is_called_and_gives_up_calls_the_next():
    """A place that comes free is not lost on a caller that was cancelled."""
    window, engine = CongestionWindow(), Engine(room=0)
    with pytest.raises(Busy):
        await through(window, engine)
    engine.room, begun, released = 1, asyncio.Event(), asyncio.Event()

    async def hold():
        async with window.place(asyncio.get_running_loop().time() + 60):
            begun.set()
            await released.wait()
        waiting[0].cancel()  # it is called by now, and has not run yet

    first = asyncio.create_task(hold())
    async with asyncio.timeout(60):
        await begun.wait()
        waiting = [asyncio.create_task(through(window, engine, patience_s=60)) for _ in range(2)]
        await asyncio.sleep(0)
        released.set()
        await first
        await waiting[1]
    assert waiting[0].cancelled()


async def test_who_waits_behind_a_refused_call_is_not_forgotten():
    """Nothing is under way any more that could be answered: the delay that the engine asked for calls the next one."""
    window, engine = CongestionWindow(), Engine(room=0)
    with pytest.raises(Busy):
        await through(window, engine)
    first = asyncio.create_task(through(window, engine, patience_s=60))
    second = asyncio.create_task(through(window, engine, patience_s=60))
    with pytest.raises(Busy):
        await first
    engine.room = 1
    async with asyncio.timeout(30):
        await second


async def test_another_failure_is_no_sign_of_congestion():
    window, engine = CongestionWindow(), Engine(room=100)
    with pytest.raises(KeyError):
        async with window.place(0.0):
            raise KeyError
    assert await all_through(window, engine, 50) == [None] * 50
