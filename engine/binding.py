"""Binds a gRPC server to an address, and says in one line why it cannot.

gRPC by itself takes a unix socket away from a live engine and does not tell why a bind failed. So a socket file is looked at
first: one that nobody serves is left over from an engine that was killed and is removed; and after a failure the kernel is
asked again.
"""

import socket
from pathlib import Path

import grpc

from engine.address import TcpAddress, UnixAddress, parse_address
from engine.errors import CannotListen


def bind(server: grpc.aio.Server, listen: str) -> str:
    """Binds, and returns the address with the port that was given for port 0. Raises CannotListen."""
    try:
        address = parse_address(listen)
    except ValueError as error:
        raise CannotListen(f"the address {listen!r} {error}") from error
    if isinstance(address, UnixAddress):
        _make_way(address)
    try:
        port = server.add_insecure_port(listen)
    except RuntimeError as error:
        raise CannotListen(f"cannot listen at {listen}: {_why(address)}; choose another address with --listen") from error
    return str(TcpAddress(host=address.host, port=port) if isinstance(address, TcpAddress) else address)


def _make_way(address: UnixAddress) -> None:
    """Removes the socket of an engine that was killed; refuses where one is alive or something else lies there."""
    if not address.path.exists():
        return
    if not address.path.is_socket():
        raise CannotListen(f"cannot listen at {address}: there is a file that is no socket; choose another path")
    with socket.socket(socket.AF_UNIX) as probe_socket:
        if probe_socket.connect_ex(str(address.path)) == 0:
            raise CannotListen(
                f"cannot listen at {address}: address already in use; stop the engine there or choose another path"
            )
    address.path.unlink()


def _why(address: UnixAddress | TcpAddress) -> str:
    """What the kernel has against the address, learnt by trying it again without gRPC, which does not say."""
    try:
        if isinstance(address, UnixAddress):
            with socket.socket(socket.AF_UNIX) as sock:
                sock.bind(str(address.path))
            address.path.unlink()
        else:
            family, kind, protocol, _, where = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
            with socket.socket(family, kind, protocol) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind(where)
                sock.listen()
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return "gRPC could not bind it"


def unbind(address: str) -> None:
    """Removes the socket file, where the address has one."""
    if address.startswith("unix:"):
        Path(address.removeprefix("unix:")).unlink(missing_ok=True)
