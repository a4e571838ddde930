"""Reads large messages, whose fields are counted first, those of the messages in them included.

What is two bytes long on the wire may be a message, which takes a hundred in memory and 0.1 us to read, and protobuf reads all
at once, while nobody else is served. Counting may take its time, in a thread of its own: the wire format says how long everything
is, and only what is a message by its descriptor is looked into. What cannot be read is left for protobuf to say so.
"""

from functools import cache
from typing import Any

from google.protobuf.message import DecodeError, Message

from engine.errors import BadJob
from engine.records import MIB

LARGE_BYTES = MIB
"""From what size on a message is large."""
MOST_FIELDS = 2_000_000
UNREADABLE = "the message cannot be read: it is none of execution.proto, or nested too deep"

_VARINT, _EIGHT_BYTES, _SIZED, _FOUR_BYTES = 0, 1, 2, 5
_FIXED = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}


def read_large[M: Message](data: bytes, kind: type[M], most_fields: int = MOST_FIELDS) -> M:
    """The message of that kind. Raises BadJob for what is none, or has more fields."""
    if _has_more_fields(data, kind.DESCRIPTOR, most_fields):
        raise BadJob(f"the message has more than {most_fields} fields, those of the messages in it included; send it in parts")
    try:
        return kind.FromString(data)
    except DecodeError:
        raise BadJob(UNREADABLE) from None


def _has_more_fields(data: bytes, kind: Any, most: int) -> bool:
    """Whether a message of that kind has more than `most` fields, counted as far as it can be read."""
    at, around = 0, [(len(data), _messages_in(kind))]
    try:
        while around:
            end, inner = around[-1]
            if at >= end:
                around.pop()
                continue
            most -= 1
            if most < 0:
                return True
            tag, at = _varint(data, at)
            if tag & 7 == _VARINT:
                _, at = _varint(data, at)
            elif tag & 7 == _SIZED:
                size, at = _varint(data, at)
                if (found := inner.get(tag >> 3)) is None:
                    at += size
                else:
                    around.append((at + size, _messages_in(found)))
            else:
                at += _FIXED[tag & 7]
    except (IndexError, KeyError):
        return False
    return False


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number and where it ends. Raises IndexError."""
    value = data[at]
    if value < 0x80:
        return value, at + 1
    value, shift = value & 0x7F, 7
    while (byte := data[at := at + 1]) >= 0x80:
        value |= (byte & 0x7F) << shift
        shift += 7
    return value | byte << shift, at + 1


@cache
def _messages_in(kind: Any) -> dict[int, Any]:
    """The descriptors of what is a message in a message of that kind, by the number of the field."""
    return {field.number: field.message_type for field in kind.fields if field.message_type is not None}
