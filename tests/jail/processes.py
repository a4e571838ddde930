"""The processes of an engine, as /proc shows them: nsjails below it, a zygote below each, cells below that."""

import asyncio
import time
from pathlib import Path

from engine.bench.processes import children_of


def jails_of(engine):
    return [child for child in children_of(engine.pid) if children_of(child)]


def zygotes_of(engine):
    return [zygote for jail in jails_of(engine) for zygote in children_of(jail)]


def cells_of(engine):
    return [cell for zygote in zygotes_of(engine) for cell in children_of(zygote)]


def named(name, engine):
    """The cells whose programs gave themselves that name: others may be armed, and wait for a program."""
    return [cell for cell in cells_of(engine) if name_of(cell) == name]


def name_of(pid):
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def alive(pid):
    return Path(f"/proc/{pid}").exists()


async def until(condition, seconds=20):
    """What the condition gives once it holds. Fails where it does not within the time."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen"
        await asyncio.sleep(0.002)
    return found
