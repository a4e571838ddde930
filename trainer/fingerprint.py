"""Hashes that say whether two things are the same: settings, files, and what a stage was made from."""

import hashlib
import json
from pathlib import Path


def of_values(*values: object) -> str:
    """Of anything that JSON can write; the order of keys does not count."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def of_file(path: Path) -> str:
    """Of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def of_files(folder: Path) -> dict[str, str]:
    """Of every file in a folder and below, by its path."""
    return {str(path.relative_to(folder)): of_file(path) for path in sorted(folder.rglob("*")) if path.is_file()}
