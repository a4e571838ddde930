"""Keeps the memory of the warm interpreter shared between the zygote and its cells.

What a fork costs is the pages that one of the two processes writes to afterwards: each is a page fault and a copy. An
interpreter writes even where a program only reads, since using an object counts a reference in it. So all objects that
exist before the first program are made immortal (PEP 683): nobody counts references to them any more.
"""

import ctypes
import gc
import os
import random
import sys
import types

_COUNT_OF_NONE = ctypes.c_uint32.from_address(id(None)).value
"""The reference count of an object that is immortal by birth."""
_fork = ctypes.PyDLL(None, use_errno=True).fork
_SEED_BYTES = 32
_random = random.random.__self__  # type: ignore[attr-defined]  # the generator behind the functions of the module
_seed = super(random.Random, _random).seed
_CODE_PARTS = ("co_consts", "co_names", "co_varnames", "co_freevars", "co_cellvars", "co_filename", "co_name", "co_qualname")


def freeze() -> None:
    """Make every object that exists immortal and no business of the garbage collector's. Leaves the collector off.

    To be called once the process has done everything that it will do again: what runs for the first time is specialised by
    the interpreter, which writes to its code.
    """
    gc.collect()
    gc.disable()
    if "t" not in sys.abiflags:  # without a GIL, the count lies elsewhere and is another one
        _make_immortal(gc.get_objects())
    gc.freeze()


def _make_immortal(rest: list[object]) -> None:
    """Those objects and all that they hold. Keeps no record of them, which would leave the heap full of holes."""
    types_seen: set[int] = set()
    while rest:
        thing = rest.pop()
        count = ctypes.c_uint32.from_address(id(thing))
        if issubclass(type(thing), type):  # may be immortal by birth and hold what is not
            if id(thing) in types_seen:
                continue
            types_seen.add(id(thing))
        elif count.value == _COUNT_OF_NONE:
            continue
        count.value = _COUNT_OF_NONE
        rest += gc.get_referents(thing)
        if type(thing) is types.CodeType:  # holds objects that the collector does not ask it for
            rest += [getattr(thing, part) for part in _CODE_PARTS]


def fork() -> int:
    """`os.fork` for a process with a single thread whose children are init of a new pid namespace, as it is of its own: without
    what Python does for other threads and other ids. Raises OSError.
    """
    pid: int = _fork()
    if pid < 0:
        raise OSError(ctypes.get_errno(), f"fork: {os.strerror(ctypes.get_errno())}")
    if pid == 0:
        _seed(int.from_bytes(os.getrandom(_SEED_BYTES)))  # `random` would take 2.5 KB by itself, which is slow
    return pid
