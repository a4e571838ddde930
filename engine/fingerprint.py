"""What makes two jobs the same job."""

import dataclasses
import enum
import hashlib
import marshal
from collections.abc import Mapping
from typing import Any

from engine.records import Job


def fingerprint(job: Job) -> str:
    """A hash over all that a job is: program, tests, limits, id. It tells 1, 1.0 and True apart, which Python finds equal."""
    return hashlib.sha256(marshal.dumps(_plain(job), 2)).hexdigest()


def _plain(value: Any) -> Any:
    """Records as tuples of their fields: version 2 of marshal writes the same bytes for the same data, however it came about."""
    if dataclasses.is_dataclass(value):
        return (type(value).__name__, *(_plain(getattr(value, field.name)) for field in dataclasses.fields(value)))
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return dict(value)
    return tuple(map(_plain, value)) if type(value) is tuple else value
