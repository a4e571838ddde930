"""What runs inside the jail imports the standard library and its own neighbours: nothing else is there to import."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INSIDE = sorted((ROOT / "engine/jail/inside").rglob("*.py"))
OF_THE_CANDIDATE = {"numpy"}  # imported only where the program brought it in


def strangers(source: str) -> set[str]:
    """Names that are imported from elsewhere, given the source of a module."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level != 1:
            names.add("." * node.level + (node.module or "").split(".")[0])
    return names - sys.stdlib_module_names - OF_THE_CANDIDATE


@pytest.mark.parametrize("path", INSIDE, ids=lambda path: path.name)
def test_imports_only_the_standard_library_and_its_neighbours(path):
    assert strangers(path.read_text()) == set()


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import os, grpc", {"grpc"}),
        ("from engine.records import Job", {"engine"}),
        ("from ..pool import Pool", {"..pool"}),
        ("def f():\n    import pydantic.fields", {"pydantic"}),
        ("from . import kernel\nfrom .cell import enter", set()),
    ],
)
def test_finds_strangers(source, found):
    assert strangers(source) == found
