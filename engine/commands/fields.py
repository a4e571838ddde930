"""Reports as JSON objects, for people who read them with other programs."""

import dataclasses
import enum
from typing import Any

from engine.records import Report


def fields_of(report: Report) -> dict[str, Any]:
    """Every field of a report under its own name; outputs as text, with bytes that are no UTF-8 escaped."""
    fields: dict[str, Any] = dataclasses.asdict(report, dict_factory=_plain)
    return fields


def _plain(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: _plain_value(value) for name, value in pairs}


def _plain_value(value: object) -> object:
    match value:
        case enum.Enum():
            return value.value
        case bytes():
            return value.decode("utf-8", "backslashreplace")
    return value
