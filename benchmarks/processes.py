"""The processes and cgroups of an engine, as the kernel shows them."""

import os
from pathlib import Path

from engine.jail.cgroups import PREFIX


def children_of(pid: int) -> list[int]:
    """In the order in which they began; none where the process is gone."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def below(pid: int) -> list[int]:
    """Children, their children and so on."""
    return [each for child in children_of(pid) for each in (child, *below(child))]


def groups_of(pid: int) -> list[str]:
    """The cgroups that the engine with that process id made."""
    return [folder for folder, _, _ in os.walk("/sys/fs/cgroup") if f"/{PREFIX}{pid}-" in folder]
