"""The processes and cgroups of an engine, as the kernel shows them."""

import os
from collections.abc import Iterator
from pathlib import Path

from engine.jail.cgroups import PREFIX

_PARENT, _BEGAN = 1, 19
"""Places among the fields of `stat_of`."""


def children_of(pid: int) -> list[int]:
    """In the order in which they began; none where the process is gone."""
    return _children().get(pid, [])


def descendants(pid: int) -> list[int]:
    """All processes below one, nearest first."""
    children = _children()
    found = [*children.get(pid, [])]
    for each in found:
        found += children.get(each, [])  # grows while it is read
    return found


def stat_of(pid: int) -> list[str]:
    """The fields of /proc/PID/stat behind the name, from the state on; none where the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def groups_of(pid: int) -> list[str]:
    """The cgroups that the engine with that process id made."""
    return [folder for folder, _, _ in os.walk("/sys/fs/cgroup") if f"/{PREFIX}{pid}-" in folder]


def _children() -> dict[int, list[int]]:
    """Of every process. Its own file in /proc names only those of one thread, where the kernel has such a file at all."""
    children: dict[int, list[int]] = {}
    for _, pid, parent in sorted(_processes()):
        children.setdefault(parent, []).append(pid)
    return children


def _processes() -> Iterator[tuple[int, int, int]]:
    """When each began, its id, its parent's id."""
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal() and (fields := stat_of(int(entry.name))):
            yield int(fields[_BEGAN]), int(entry.name), int(fields[_PARENT])
