"""What an engine counts, as Prometheus reads it: http://HOST:PORT/metrics, where the configuration names an address.

Nothing is counted for its sake: each look asks the pool. It is answered by a thread of its own, so also while the engine is busy.
"""

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Protocol

from prometheus_client import CollectorRegistry, Metric, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from engine.address import TcpAddress, parse_address
from engine.errors import CannotListen
from engine.pool import Counts

_MEANING = {
    "broken_slots": "Slots that broke and were closed.",
    "failed_starts": "Starts of slots, in place of broken ones, that failed.",
    "second_runs": "Programs that ran once more since their slot broke.",
    "infrastructure_errors": "Programs without a verdict: their second slot broke too, or none became free in time.",
}


class Counting(Protocol):
    """A pool, as far as it is asked."""

    @property
    def counts(self) -> Counts: ...
    @property
    def slots(self) -> int: ...
    @property
    def waiting(self) -> int: ...


class _PoolCollector(Collector):
    def __init__(self, pool: Counting) -> None:
        self._pool = pool

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("rrtf_slots", "Slots that can run programs.", value=self._pool.slots)
        yield GaugeMetricFamily("rrtf_waiting_programs", "Programs that wait for a slot.", value=self._pool.waiting)
        for name, count in dataclasses.asdict(self._pool.counts).items():
            yield CounterMetricFamily(f"rrtf_{name}", _MEANING[name], value=count)


@contextlib.contextmanager
def told(pool: Counting, listen: str) -> Iterator[None]:
    """The pool's counts can be read at `listen`, host:port, for as long as this is open. Raises CannotListen."""
    registry = CollectorRegistry()
    registry.register(_PoolCollector(pool))
    try:
        address = parse_address(listen)
        if not isinstance(address, TcpAddress):
            raise ValueError("is no host:port")
        server, thread = start_http_server(address.port, address.host.strip("[]"), registry)
    except (OSError, ValueError) as error:
        raise CannotListen(f"cannot give out metrics at {listen}: {error}; choose another address for metrics") from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
