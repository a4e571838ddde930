"""What Prometheus reads of an engine, over a real socket."""

import contextlib
import socket
import threading
import urllib.request
from dataclasses import dataclass

import pytest

from engine.errors import CannotListen
from engine.metrics import told
from engine.pool import Counts


@dataclass
class Pool:
    """As much of one as is asked."""

    counts: Counts
    slots: int
    waiting: int


@pytest.fixture
def address():
    """One that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return f"localhost:{probe.getsockname()[1]}"


def read(address):
    """Names and values."""
    with urllib.request.urlopen(f"http://{address}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if not line.startswith("#"))}


def test_every_look_is_at_the_pool_as_it_is(address):
    """Each count of the pool under its name, slots and line besides, and nothing else."""
    pool = Pool(Counts(broken_slots=1), slots=2, waiting=3)
    with told(pool, address):
        assert read(address) == {
            "rrtf_slots": 2,
            "rrtf_waiting_programs": 3,
            "rrtf_broken_slots_total": 1,
            "rrtf_failed_starts_total": 0,
            "rrtf_second_runs_total": 0,
            "rrtf_infrastructure_errors_total": 0,
        }
        pool.counts.broken_slots = 5
        assert read(address)["rrtf_broken_slots_total"] == 5


def test_the_address_is_free_again_afterwards(address):
    for _ in range(2):
        with told(Pool(Counts(), 1, 0), address):
            assert read(address)["rrtf_slots"] == 1


def test_who_connects_and_says_nothing_takes_little(address):
    """No more than a few threads, and none of them for long: all connections are closed by the engine."""
    with told(Pool(Counts(), 1, 0), address), contextlib.ExitStack() as silent:
        before = threading.active_count()
        host, _, port = address.rpartition(":")
        connections = [silent.enter_context(socket.create_connection((host, int(port)))) for _ in range(50)]
        assert connections[-1].recv(1) == b""  # all others have been looked at before
        assert threading.active_count() <= before + 8
        assert {connection.recv(1) for connection in connections} == {b""}


def test_who_speaks_slowly_is_not_listened_to_for_long(address):
    """One letter at a time, each in time."""
    with told(Pool(Counts(), 1, 0), address):
        host, _, port = address.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=0.2) as slow:
            said = 0
            with contextlib.suppress(OSError):
                while said < 300:
                    said += slow.send(b"G")
                    with contextlib.suppress(TimeoutError):
                        assert not slow.recv(1)
                        break
            assert 5 <= said < 300


@pytest.mark.parametrize("listen", ["unix:/tmp/metrics", "nowhere", "host.invalid:1"])
def test_an_address_that_cannot_be_had_is_refused(listen):
    """One line that says why and which setting it is."""
    with pytest.raises(CannotListen, match="metrics"), told(Pool(Counts(), 1, 0), listen):
        pass
