"""What runs inside the jail imports the standard library and itself: nothing else is there to import."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INSIDE = sorted((ROOT / "engine/jail/inside").rglob("*.py"))


def imported_names(source):
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "."


@pytest.mark.parametrize("path", INSIDE, ids=lambda path: path.name)
def test_imports_only_the_standard_library_and_itself(path):
    strangers = {
        name
        for name in imported_names(path.read_text())
        if name.split(".")[0] not in sys.stdlib_module_names and not name.startswith("engine.jail.inside")
    }
    assert not strangers
