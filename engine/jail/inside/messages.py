"""What passes between the engine and a slot's processes, besides the bytes of the programs themselves.

Into the jail goes `marshal` in version 2, which every Python 3 reads alike, in one call. Out of the jail comes nothing of
that kind: a fixed structure of numbers from the zygote, and text that is read with suspicion from the cells.
"""

import marshal
import struct
from typing import Any

PROGRAM, EXAMINED, PREPARATION = "program", "examined", "preparation"
"""Kinds of orders: a candidate, a candidate with its examiner, test code to make ready."""
KILLED = ("", "cpu", "wall", "output", "tests", "done", "cancelled")
"""Why the zygote ended a process; an account holds the index."""
PROCESS = struct.Struct("=qiBqqq")
"""CPU time in ns before the work began (0: it never did), exit code or minus the signal, index in KILLED, CPU time in ns of the
work, wall time in ns, most resident bytes."""
CANCEL = marshal.dumps(None, 2)


def packed(content: Any) -> bytes:
    """Plain data for the jail; `marshal.loads` reads it."""
    return marshal.dumps(content, 2)
