"""The Ray cluster that replicas live on: joined where it is running, or started for one run; and what is said when it fails."""

import importlib.util
import logging
import os
import signal
from collections.abc import Callable
from functools import partial

import psutil
from tenacity import Retrying, retry_if_exception, stop_after_attempt

from trainer.errors import SamplerError
from trainer.sampling.settings import Ray

_STORE_BYTES = 80 << 20
"""Of a cluster of our own: requests and candidates are small, and weights are read from files."""
_STARTS = 3


def check(settings: Ray, section: str) -> None:
    """Raises SamplerError where Ray cannot work here; `section` names the setting that asks for it."""
    if importlib.util.find_spec("ray") is None:
        raise SamplerError(f'{section} is "ray", which is not installed: `make setup` brings it, as does the extra rrtf[ray]')
    if settings.address and connect(settings):
        disconnect()


def connect(settings: Ray) -> bool:
    """Whether that was necessary: a process has one cluster. Raises SamplerError.

    SIGTERM goes on doing what it did: Ray would take it for itself.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    if ray.is_initialized():
        return False
    init = partial(ray.init, log_to_driver=False, logging_level=logging.ERROR)
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        if settings.address:
            init(address=settings.address)
        else:
            begin(partial(init, address="local", include_dashboard=False, object_store_memory=_STORE_BYTES))
    except Exception as error:  # bare ones, too
        raise SamplerError(_without_cluster(settings.address, reason(error))) from error
    finally:
        signal.signal(signal.SIGTERM, on_sigterm)
    if not settings.address and not _has_room(settings):  # nor will it ever; a cluster may get another node
        explanation = room(settings)
        disconnect()
        raise SamplerError(f"ray: no replica can be made on this machine: {explanation}")
    return True


def begin(start: Callable[[], object]) -> None:
    """Starts a cluster of our own; anew where a node does not come up: once in dozens of times one dies before its first word.

    Ray says so half a minute later, and leaves behind what it has started by then.
    """
    for attempt in Retrying(stop=stop_after_attempt(_STARTS), retry=retry_if_exception(_is_late), reraise=True):
        before = set(psutil.Process().children())
        with attempt:
            try:
                start()
            except Exception:
                left = [process for process in psutil.Process().children() if process not in before]
                for process in left:
                    process.kill()
                psutil.wait_procs(left)
                raise


def _is_late(error: BaseException) -> bool:
    """Ray raises a bare exception where a node is not up in time."""
    return type(error) is Exception


def _without_cluster(address: str, why: str) -> str:
    if address:
        cure = "run `ray start` on this machine, to join the cluster or to begin one, or leave the address empty"
        return f"ray.address: no cluster answers at {address!r} ({why}); {cure}"
    cure = 'what was done so far is kept, and the same command tries again; or `ray start --head` and set ray.address to "auto"'
    return f"ray: no cluster could be started on this machine ({why}); {cure}"


def disconnect() -> None:
    """Leaves the cluster; one that was started by `connect` ends."""
    import ray

    ray.shutdown()


def _has_room(settings: Ray) -> bool:
    """For one replica."""
    import ray

    has = ray.cluster_resources()
    return bool(settings.cpus <= has.get("CPU", 0) and settings.gpus <= has.get("GPU", 0))


def room(settings: Ray) -> str:
    """What the cluster has and a replica takes, where that may be the reason."""
    import ray

    has = ray.cluster_resources()
    there = f"the cluster has {has.get('CPU', 0):g} processors with {has.get('GPU', 0):g} GPUs"
    return f"{there}, and each of {settings.replicas} replicas takes {settings.cpus:g} with {settings.gpus:g}"


def reason(error: Exception) -> str:
    """One line: of what was raised in a replica the first; of one that could not be made the last, since the others say where."""
    cause = getattr(error, "cause", None) or error
    lines = str(cause).strip().splitlines() or [type(cause).__name__]
    return lines[-1] if getattr(error, "actor_init_failed", False) else lines[0]
