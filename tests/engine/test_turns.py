"""What is done in threads: so much at a time, by turns, and counted to its end."""

import asyncio
import threading

from engine.turns import Turns


async def begun():
    """What was started has come as far as it can."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_clients_take_turns_at_a_thread():
    """Who came late with one thing does not wait for all that the first one has to do."""
    turns, gate = Turns(1), threading.Event()
    order: list[str] = []
    first = asyncio.create_task(turns.do("a", gate.wait))
    others = [asyncio.create_task(turns.do(name[0], order.append, name)) for name in ("a1", "a2", "a3", "b1")]
    await begun()
    gate.set()
    await asyncio.gather(first, *others)
    assert order == ["a1", "b1", "a2", "a3"]


async def test_a_thread_that_nobody_waits_for_any_more_is_not_free():
    """It goes on: another thing would wait for it all the same, out of turn."""
    turns, gate = Turns(1), threading.Event()
    given_up = asyncio.create_task(turns.do("a", gate.wait))
    await begun()
    given_up.cancel()
    await asyncio.wait([given_up])
    assert not turns._free
    gate.set()
    assert await turns.do("b", int, "7") == 7


async def test_who_gives_up_in_line_takes_no_turn():
    turns, gate = Turns(1), threading.Event()
    first = asyncio.create_task(turns.do("a", gate.wait))
    given_up = asyncio.create_task(turns.do("b", int, "1"))
    await begun()
    given_up.cancel()
    await asyncio.wait([given_up])
    gate.set()
    assert await first
    assert await turns.do("c", int, "7") == 7


async def test_what_fails_fails_for_who_asked_and_nobody_else():
    turns = Turns(1)
    [error] = await asyncio.gather(turns.do("a", int, "x"), return_exceptions=True)
    assert isinstance(error, ValueError)
    assert await turns.do("a", int, "7") == 7
