"""What is mounted where, from the text of /proc/self/mounts."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_ESCAPED = re.compile(r"\\([0-7]{3})")


class Mount(NamedTuple):
    """One line of it."""

    point: Path
    kind: str
    options: list[str]


def host_mounts() -> str:
    """That text, of this process."""
    return Path("/proc/self/mounts").read_text(errors="surrogateescape")


def mounts_in(text: str) -> Iterator[Mount]:
    """In the order in which they were made."""
    for line in text.splitlines():
        _, point, kind, options, *_ = line.split(" ")
        yield Mount(Path(_ESCAPED.sub(lambda octal: chr(int(octal[1], 8)), point)), kind, options.split(","))
