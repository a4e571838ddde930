"""What nsjail and the zygotes write on stderr, line by line into the engine's log."""

import asyncio
import contextlib
import logging
import os
from collections.abc import Iterator

_HARMLESS = (b"no version information available", b"in the global user namespace, and will have")
"""The binary's complaint about the libraries it was linked with; nsjail's about the zygote, which is root outside on purpose."""
_LINE_BYTES = 4096

_log = logging.getLogger("engine.jail")


@contextlib.contextmanager
def listening() -> Iterator[int]:
    """The descriptor to give to jails as stderr, for as long as the event loop of this task logs what comes."""
    ears, mouth = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    os.set_blocking(mouth, True)
    rest = b""

    def hear() -> None:
        nonlocal rest
        *lines, rest = (rest + os.read(ears, _LINE_BYTES)).split(b"\n")
        rest = rest[-_LINE_BYTES:]
        for line in lines:
            if line.strip() and not any(harmless in line for harmless in _HARMLESS):
                _log.warning("%s", line.decode("utf-8", "replace"))

    loop = asyncio.get_running_loop()
    loop.add_reader(ears, hear)
    try:
        yield mouth
    finally:
        loop.remove_reader(ears)
        os.close(ears)
        os.close(mouth)
