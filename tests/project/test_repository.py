"""What the repository promises about itself: documented, locked, free of addresses of one place."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONSTRAINTS = sorted((ROOT / "constraints").glob("*.txt"))


def requirements(path):
    """The requirements of a compiled file, each with its hashes on the same line."""
    lines = path.read_text().replace("\\\n", " ").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def test_readme_names_every_top_level_file_and_folder():
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    entries = {name.split("/")[0] + ("/" if "/" in name else "") for name in tracked if name}
    readme = (ROOT / "README.md").read_text()
    assert sorted(entry for entry in entries if f"| `{entry}` |" not in readme) == []


@pytest.mark.parametrize("path", CONSTRAINTS, ids=lambda path: path.stem)
def test_every_locked_package_has_an_exact_version_with_hashes(path):
    loose = [line for line in requirements(path) if not re.match(r"[\w.\[\]-]+==\S+ .*--hash=sha256:", line)]
    assert requirements(path)
    assert loose == []


@pytest.mark.parametrize("path", CONSTRAINTS, ids=lambda path: path.stem)
def test_locked_files_hold_no_addresses(path):
    assert not re.search(r"https?://|file:|--(extra-)?index-url|--find-links", path.read_text())


@pytest.mark.parametrize("extra", ["trainer", "ray", "dev"])
def test_the_development_lock_covers_the_extras(extra):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"][extra]
    locked = {re.split(r"[\[=]", line)[0] for line in requirements(ROOT / "constraints/dev.txt")}
    assert {re.split(r"[\[=<>]", name)[0] for name in wanted} - {project["name"]} <= locked


def test_the_engine_lock_has_no_torch():
    assert not [line for line in requirements(ROOT / "constraints/engine.txt") if line.startswith(("torch", "nvidia", "numpy"))]
