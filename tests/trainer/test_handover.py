"""The queue from a thread to an event loop: in order, with an end, and never fuller than it may be."""

import asyncio
import threading

from trainer.handover import Handover

ROOM = 3


def test_everything_arrives_in_order() -> None:
    """Though there is room for few."""

    async def main() -> list[int]:
        queue: Handover[int] = Handover(ROOM, threading.Event())

        def produce() -> None:
            for number in range(20):
                queue.put(number)
            queue.end()

        producing = asyncio.create_task(asyncio.to_thread(produce))
        found = [number async for number in queue]
        await producing
        return found

    assert asyncio.run(main()) == list(range(20))


def test_what_comes_within_a_moment_is_passed_on_together() -> None:
    """Here the moment lasts until the end: nothing may come before it, though the loop is free, and then all of it is there."""

    async def main() -> list[int]:
        queue: Handover[int] = Handover(ROOM, threading.Event(), gather_s=3600)
        for number in range(ROOM):
            await asyncio.to_thread(queue.put, number)
        taking = asyncio.ensure_future(anext(taken := aiter(queue)))
        await asyncio.wait({taking}, timeout=0.1)
        assert not taking.done()
        await asyncio.to_thread(queue.end)
        return [await taking, *[number async for number in taken]]

    assert asyncio.run(main()) == list(range(ROOM))


def test_who_puts_waits_while_there_is_no_room() -> None:
    """As many as there is room for are put while nobody takes; one that is taken lets one more in."""

    async def main() -> None:
        stop, changed = threading.Event(), asyncio.Event()
        loop, put = asyncio.get_running_loop(), list[int]()
        queue: Handover[int] = Handover(ROOM, stop)

        def note(number: int) -> None:
            put.append(number)
            changed.set()

        def produce() -> None:
            for number in range(ROOM + 5):
                queue.put(number)
                loop.call_soon_threadsafe(note, number)

        async def until(count: int) -> None:
            while len(put) < count:
                changed.clear()
                await changed.wait()

        producing = asyncio.create_task(asyncio.to_thread(produce))
        await until(ROOM)
        await asyncio.wait({producing}, timeout=0.3)  # nothing more may come, however long one waits
        assert len(put) == ROOM
        taken = aiter(queue)
        await anext(taken)
        await until(ROOM + 1)
        stop.set()
        await producing

    asyncio.run(main())


def test_a_stop_lets_go_of_who_waits() -> None:
    """What it had to put is dropped: nobody takes it any more."""

    async def main() -> None:
        stop = threading.Event()
        queue: Handover[int] = Handover(ROOM, stop)

        def produce() -> None:
            for number in range(ROOM + 1):
                queue.put(number)

        producing = asyncio.create_task(asyncio.to_thread(produce))
        stop.set()
        await asyncio.wait_for(producing, 60)

    asyncio.run(main())
