"""Fuzzes, guided by coverage, what reads bytes out of a jail.

    python -m tests.fuzz.decoder [options of libFuzzer] [FOLDER]

    python -m tests.fuzz.decoder -max_total_time=600

Needs atheris: `pip install atheris`, or the extra `fuzz`. FOLDER keeps what was found worth keeping. The first byte of an input
chooses one of reading.READERS, the others are what it reads. Ends with a traceback, and a file named crash-* or timeout-*, at the
first exception that is not meant or input that takes more than ten seconds.
"""

import sys
import tempfile
from pathlib import Path

import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]  # an extra that few install

with atheris.instrument_imports(include=["engine"]):
    from tests.fuzz.reading import READERS, seeds


def read(data: bytes) -> None:
    """One input."""
    if data:
        READERS[data[0] % len(READERS)](data[1:])


def main() -> None:
    """Seed a folder, fuzz."""
    with tempfile.TemporaryDirectory() as name:
        for number, (reader, said) in enumerate(seeds()):
            (Path(name) / str(number)).write_bytes(bytes([reader]) + said)
        folders = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
        options = [argument for argument in sys.argv[1:] if argument.startswith("-")]
        atheris.Setup([sys.argv[0], "-timeout=10", "-rss_limit_mb=2048", *options, *folders, name], read)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
