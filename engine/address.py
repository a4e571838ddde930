"""Addresses of engines: `host:port` or `unix:PATH`, as one parser for those who listen and those who connect."""

from dataclasses import dataclass
from pathlib import Path

MAX_SOCKET_PATH_BYTES = 107
"""The kernel's sun_path, less its closing NUL."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UnixAddress:
    path: Path

    def __str__(self) -> str:
        return f"unix:{self.path}"


@dataclass(frozen=True, kw_only=True, slots=True)
class TcpAddress:
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def parse_address(text: str) -> UnixAddress | TcpAddress:
    """The address a text means. Raises ValueError with a clause that says what is wrong with it."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path or "\0" in path:
            raise ValueError("has no path behind unix:")
        if len(path.encode()) > MAX_SOCKET_PATH_BYTES:
            raise ValueError(f"has a path longer than the {MAX_SOCKET_PATH_BYTES} bytes the kernel takes; choose a shorter one")
        return UnixAddress(path=Path(path))
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise ValueError("is neither host:port, such as localhost:50051, nor unix:PATH")
    return TcpAddress(host=host, port=int(port))
