"""Binds a gRPC server to an address, and says in one line why it cannot.

gRPC by itself takes a unix socket away from a live engine, is content with half of the addresses of a name, and does not tell
why a bind failed. So the kernel is asked first, with sockets of our own that are closed again. A socket file that nobody
serves is left over from an engine that was killed, and is removed.
"""

import errno
import socket
from pathlib import Path

import grpc

from engine.address import TcpAddress, UnixAddress, parse_address
from engine.errors import CannotListen, reason

_CURES = {
    errno.EADDRINUSE: "stop what listens there or ",
    errno.EEXIST: "remove it or ",
    errno.ENOENT: "make its folder or ",
    errno.EACCES: "listen as a user who may or ",
}


def bind(server: grpc.aio.Server, listen: str) -> str:
    """Binds, and returns the address with the port that was given for port 0. Raises CannotListen."""
    address = check_address(listen)
    try:
        port = server.add_insecure_port(listen)
    except RuntimeError as error:
        raise _refusal(listen, OSError(str(error))) from error
    return str(TcpAddress(host=address.host, port=port) if isinstance(address, TcpAddress) else address)


def check_address(listen: str) -> TcpAddress | UnixAddress:
    """The address, which can be bound at this moment. Raises CannotListen."""
    try:
        address = parse_address(listen)
    except ValueError as error:
        raise CannotListen(f"the address {listen!r} {error}") from error
    try:
        if isinstance(address, UnixAddress):
            _try_unix(address)
        else:
            _try_tcp(address)
    except OSError as error:
        raise _refusal(listen, error) from error
    return address


def _refusal(listen: str, error: OSError) -> CannotListen:
    cure = f"{_CURES.get(error.errno or 0, '')}choose another address with --listen"
    return CannotListen(f"cannot listen at {listen}: {reason(error)}; {cure}")


def unbind(address: str) -> None:
    """Removes the socket file, where the address has one."""
    if address.startswith("unix:"):
        Path(address.removeprefix("unix:")).unlink(missing_ok=True)


def _try_unix(address: UnixAddress) -> None:
    """Raises OSError unless the path can be bound, having removed a socket that nobody serves."""
    if address.path.exists():
        if not address.path.is_socket():
            raise OSError(errno.EEXIST, "a file that is no socket lies there")
        with socket.socket(socket.AF_UNIX) as client:
            if client.connect_ex(str(address.path)) == 0:
                raise OSError(errno.EADDRINUSE, "address already in use")
        address.path.unlink()
    with socket.socket(socket.AF_UNIX) as ours:
        ours.bind(str(address.path))
    address.path.unlink()


def _try_tcp(address: TcpAddress) -> None:
    """Raises OSError unless all addresses of the host that this machine has can be bound."""
    found = socket.getaddrinfo(address.host.strip("[]"), address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    absent: list[OSError] = []
    for family, kind, protocol, _, where in found:
        try:
            with socket.socket(family, kind, protocol) as ours:
                ours.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                ours.bind(where)
                ours.listen()
        except OSError as error:
            if error.errno not in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
                raise
            absent.append(error)
    if len(absent) == len(found):
        raise absent[0]
