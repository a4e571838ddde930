"""Enumerations of the records <-> numbers of the wire, looked up rather than spelt out for each message.

Both sides carry the same names, on the wire behind a prefix. That is checked when a table is made: a member without a number
is an error at the first import, not at its first use.
"""

import enum
from typing import Any


class Numbers[E: enum.Enum]:
    """The numbers of one enumeration. `unspecified` is what 0 means, where it means anything."""

    def __init__(self, members: type[E], wire_enum: Any, prefix: str, unspecified: E | None = None) -> None:
        self._numbers: dict[E, int] = {member: wire_enum.Value(prefix + member.name) for member in members}
        self._members = {number: member for member, number in self._numbers.items()}
        if unspecified is not None:
            self._members[0] = unspecified

    def number(self, member: E) -> Any:
        """The number of a member. Of no type, since the stubs want one of their own for each field."""
        return self._numbers[member]

    def member(self, number: int) -> E | None:
        """The member behind a number, None for one from the future."""
        return self._members.get(number)
