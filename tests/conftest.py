"""What all tests rely on."""

import os
import signal
from pathlib import Path

import pytest

_DATA = Path(__file__).parents[2] / "shared" / "data"


def pytest_configure(config: pytest.Config) -> None:
    """Ctrl-C is heard, problem files are found.

    A shell that starts the tests in its background ignores Ctrl-C, and so would every command that they start.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if _DATA.is_dir():  # beside the checkout, where somebody has put the files that the project does not contain
        os.environ.setdefault("RRTF_DATA", str(_DATA))
