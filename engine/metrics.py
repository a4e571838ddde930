"""What an engine counts, as Prometheus reads it: http://HOST:PORT/metrics, where the configuration names an address.

What the pool knows is asked of it at each look; reports and refusals are counted as they come. No label has a value that a
client chooses. A look is answered by a thread of its own, so also while the engine is busy. Of these there are few, and none
waits long: threads and descriptors are the engine's.
"""

import contextlib
import dataclasses
import socket
import threading
import time
from collections.abc import Iterator
from socketserver import ThreadingMixIn
from typing import Any, Protocol
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import grpc
from prometheus_client import CollectorRegistry, Counter, Histogram, Metric, disable_created_metrics, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from engine.address import TcpAddress, parse_address
from engine.errors import CannotListen
from engine.pool import Counts
from engine.records import Report, Verdict
from engine.service import Observer

_MEANING = {
    "broken_slots": "Slots that broke and were closed.",
    "failed_starts": "Starts of slots, in place of broken ones, that failed.",
    "second_runs": "Programs that ran once more since their slot broke.",
    "infrastructure_errors": "Programs without a verdict: their second slot broke too, or none became free in time.",
}
_REFUSALS = ("INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "UNAVAILABLE", "INTERNAL")
"""There from the first look on: where a series begins with its first count, no rate tells of that one."""
_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)

_LOOKS_AT_ONCE = 8
_PATIENCE_S, _LONGEST_LOOK_S = 1.0, 2.0
"""How long nothing of a look may arrive; how long all of it may take."""


class Counting(Protocol):
    """A pool, as far as it is asked."""

    @property
    def counts(self) -> Counts: ...
    @property
    def slots(self) -> int: ...
    @property
    def running(self) -> int: ...
    @property
    def waiting(self) -> int: ...


class _PoolCollector(Collector):
    def __init__(self, pool: Counting) -> None:
        self._pool = pool

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("rrtf_slots", "Slots that can run programs.", value=self._pool.slots)
        yield GaugeMetricFamily("rrtf_running_programs", "Programs that have a slot.", value=self._pool.running)
        yield GaugeMetricFamily("rrtf_waiting_programs", "Programs that wait for a slot.", value=self._pool.waiting)
        for name, count in dataclasses.asdict(self._pool.counts).items():
            yield CounterMetricFamily(f"rrtf_{name}", _MEANING[name], value=count)


class _Tally(Observer):
    """Counts where programs wait for it, hence looks up once what each report needs."""

    def __init__(self, registry: CollectorRegistry) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # since when is a series more for each, which nobody asks for
        reports = Counter("rrtf_reports", "Reports, those of deduplicated programs included.", ["verdict"], registry=registry)
        self._refusals = Counter("rrtf_refusals", "Requests and streams that were refused.", ["code"], registry=registry)
        self._reports = {verdict: reports.labels(verdict.value) for verdict in Verdict}
        for code in _REFUSALS:
            self._refusals.labels(code)
        self._queue_time = Histogram(
            "rrtf_queue_time_seconds", "How long programs waited for a slot.", registry=registry, buckets=_BUCKETS_S
        )
        self._wall_time = Histogram("rrtf_wall_time_seconds", "How long programs ran.", registry=registry, buckets=_BUCKETS_S)

    def reported(self, report: Report) -> None:
        self._reports[report.verdict].inc()
        if report.deduplicated:  # the times are those of another report
            return
        self._queue_time.observe(report.queue_time_ms / 1000)
        if report.wall_time_ms:  # what found no slot has none
            self._wall_time.observe(report.wall_time_ms / 1000)

    def refused(self, code: grpc.StatusCode) -> None:
        self._refusals.labels(code.name).inc()


class _Handler(WSGIRequestHandler):
    timeout = _PATIENCE_S

    def log_message(self, *_: object) -> None:
        """Looks are not worth a line in the log."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: TcpAddress) -> None:
        host = address.host.strip("[]")
        self.address_family, *_ = socket.getaddrinfo(host, address.port, type=socket.SOCK_STREAM)[0]
        self._places = threading.BoundedSemaphore(_LOOKS_AT_ONCE)
        self._looks: dict[Any, float] = {}
        super().__init__((host, address.port), _Handler)

    def verify_request(self, *_: object) -> bool:
        """Whether there is a place for another look; else its connection is closed."""
        return self._places.acquire(blocking=False)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        self._looks[request] = time.monotonic() + _LONGEST_LOOK_S
        try:
            super().process_request_thread(request, client_address)
        finally:
            del self._looks[request]
            self._places.release()

    def service_actions(self) -> None:
        """Twice a second: ends the looks that take too long."""
        for request, until in list(self._looks.items()):
            if time.monotonic() > until:
                with contextlib.suppress(OSError):  # it is over just now
                    request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, *_: object) -> None:
        """Who goes away is not worth a line either."""


@contextlib.contextmanager
def told(pool: Counting, listen: str) -> Iterator[Observer]:
    """The pool's counts, and what is told to the observer, can be read at `listen`, host:port, for as long as this is open.

    Raises CannotListen.
    """
    registry = CollectorRegistry()
    registry.register(_PoolCollector(pool))
    tally = _Tally(registry)
    try:
        address = parse_address(listen)
        if not isinstance(address, TcpAddress):
            raise ValueError("is no host:port")
        server = _Server(address)
    except (OSError, ValueError) as error:
        raise CannotListen(f"cannot give out metrics at {listen}: {error}; choose another address for metrics") from error
    server.set_app(make_wsgi_app(registry))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield tally
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
