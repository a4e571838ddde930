"""SIGTERM as Ctrl-C: a command that is asked to end leaves by the same way, stops its engine, and says what lies where."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def sigterm_as_ctrl_c() -> Iterator[list[signal.Signals]]:
    """SIGTERM does what Ctrl-C does at that moment, also to asyncio; the list is empty as long as none has come."""
    received: list[signal.Signals] = []

    def terminate(number: int, frame: FrameType | None) -> None:
        received.append(signal.Signals(number))
        of_ctrl_c = signal.getsignal(signal.SIGINT)
        (of_ctrl_c if callable(of_ctrl_c) else signal.default_int_handler)(signal.SIGINT, frame)

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield received
    finally:
        signal.signal(signal.SIGTERM, before)


def exit_code(terminated: list[signal.Signals]) -> int:
    """Of a command that was interrupted, as shells have it: 130 after Ctrl-C, 143 after SIGTERM."""
    return 128 + (terminated[0] if terminated else signal.SIGINT)
