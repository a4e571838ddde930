"""What all tests rely on."""

import signal

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Ctrl-C is heard. A shell that starts the tests in its background ignores it, and so would every command that they start."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
