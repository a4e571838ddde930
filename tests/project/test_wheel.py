"""What is installed holds what its commands need besides code."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The names of the files in a wheel that was built a moment ago."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], cwd=ROOT, check=True, capture_output=True
    )
    [wheel] = folder.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def test_the_lists_of_the_selftest_are_installed(installed):
    lists = {path.relative_to(ROOT / "tests/hostile") for path in (ROOT / "tests/hostile").rglob("*.toml")}
    assert {f"engine/selftest/lists/{path}" for path in lists} == {name for name in installed if name.endswith(".toml")}


def test_no_tests_are_installed(installed):
    assert not [name for name in installed if name.startswith("tests/")]
