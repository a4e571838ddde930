"""An engine process that executes nothing real, for tests of those who start engines: python -m tests.engine.fake_main.

Takes the options of `serve` that a LocalEngine gives. `--config die` makes it die at its start.
"""

import argparse
import asyncio
import sys

from engine.client.local import READY_PREFIX
from engine.server import Stop, serve
from tests.engine.fakes import DESCRIPTION, FakeExecutor, nothing_to_prove


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen")
    parser.add_argument("--config")
    parser.add_argument("--stop-with-stdin", action="store_true")
    options = parser.parse_args()
    if options.config == "die":
        sys.exit("error: no namespaces; mend them")
    stop = Stop()
    stop.on_signals()
    stop.when_readable(sys.stdin.fileno())
    await serve(
        FakeExecutor(),
        DESCRIPTION,
        listen=options.listen,
        stop=stop,
        announce=lambda address: print(READY_PREFIX, address, sep="", flush=True),  # noqa: T201  # as the engine does
        ready=nothing_to_prove,
        drain_time_ms=0,
    )


if __name__ == "__main__":
    asyncio.run(main())
