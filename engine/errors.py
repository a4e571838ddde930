"""What can go wrong, as one tree. A program that fails is no error: it is a `Report` with a verdict.

    EngineError
    ├── BadJob             the job cannot be run as it is; do not retry
    ├── ProblemError       a problems or samples file is malformed; names file and line
    ├── BadConfig          a setting that is none, or not of its kind
    ├── Busy               the queue is full; retry after `retry_after_ms`
    ├── Unavailable        the engine takes no jobs at the moment; retry after `retry_after_ms`
    │   ├── Starting       ... because it is not ready yet
    │   └── Draining       ... because it is being stopped
    ├── JailUnavailable    the engine refuses to start without its jail
    ├── CannotListen       the engine cannot serve at the address
    ├── StartFailed        an engine started for this process did not become ready
    ├── ConnectionFailed   nobody answers at the address
    ├── EngineGone         the engine was there and went away
    ├── EngineFault        a fault of the engine's own code
    └── CannotWrite        a file of results cannot be written

Every message is one line that names the cause and, where there is one, the cure: the command line prints it as it is
and exits with 2. The server turns BadJob, Busy and Unavailable into gRPC statuses (engine.wire), the client turns them back.
"""


class EngineError(Exception):
    """Anything this package raises on purpose."""


class BadJob(EngineError, ValueError):
    """The job cannot be run as it is. Sending it again gives the same answer."""


class ProblemError(EngineError, ValueError):
    """A file of problems or samples is malformed. The message names the file, the line, the cause and the cure."""


class BadConfig(EngineError, ValueError):
    """A setting that does not exist or has a value that it cannot have. The message names it."""


class Busy(EngineError):
    """The queue is full. The same job may be sent again after `retry_after_ms`."""

    def __init__(self, message: str = "the queue is full", *, retry_after_ms: int) -> None:
        super().__init__(message)
        self.retry_after_ms = retry_after_ms


class Unavailable(EngineError):
    """The engine takes no jobs at the moment. Ask again after `retry_after_ms`, elsewhere if you can."""

    def __init__(self, message: str = "the engine takes no jobs at the moment", *, retry_after_ms: int = 1_000) -> None:
        super().__init__(message)
        self.retry_after_ms = retry_after_ms


class Starting(Unavailable):
    """The engine listens but has not yet run its first jailed program."""

    def __init__(self, message: str = "the engine is starting", *, retry_after_ms: int = 500) -> None:
        super().__init__(message, retry_after_ms=retry_after_ms)


class Draining(Unavailable):
    """The engine is being stopped: it finishes what it accepted and takes nothing new."""

    def __init__(self, message: str = "the engine is being stopped", *, retry_after_ms: int = 1_000) -> None:
        super().__init__(message, retry_after_ms=retry_after_ms)


class JailUnavailable(EngineError):
    """The host does not give what the jail needs. The engine never runs a program without it."""


class CannotListen(EngineError):
    """The address is in use, not writable or not an address."""


class StartFailed(EngineError):
    """The engine that `LocalEngine` started did not become ready. The message ends with what it wrote last."""


class ConnectionFailed(EngineError):
    """Nobody answers at the address."""


class EngineGone(EngineError):
    """The engine was there and went away: killed, crashed, or cut off by the network."""


class EngineFault(EngineError):
    """A fault of the engine's own code. Its log says more."""


class CannotWrite(EngineError):
    """A file of results cannot be written."""


def reason(error: OSError) -> str:
    """What the kernel said, as a clause for a message."""
    return (error.strerror or str(error)).lower()
