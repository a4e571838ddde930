"""Words for messages about plain data: where in it something stands, and what stands there, in a few dozen characters.

A place is a chain of keys from the inside out, cheap to extend while walking; it becomes text only once there is something
to say. Neither function fails, whatever the value: integers, for one, may have more digits than Python agrees to print.
"""

import reprlib

type Place = tuple[Place, object] | None

_MOST_KEYS = 8


class _Short(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__(maxstring=60, maxother=60, maxlevel=4, maxlist=6, maxtuple=6, maxset=6, maxfrozenset=6, maxdict=4)

    def repr_int(self, x: int, level: int) -> str:
        return super().repr_int(x, level) if x.bit_length() < 1_000 else f"an integer of {x.bit_length()} bits"


short = _Short().repr
"""A short literal of a value."""


def render(place: Place) -> str:
    """A place as indexing: [1]['x'][0]."""
    keys: list[str] = []
    while place is not None:
        place, key = place
        keys.append(f"[{short(key)}]")
    keys.reverse()
    if len(keys) > _MOST_KEYS:
        keys[_MOST_KEYS // 2 : -_MOST_KEYS // 2] = ["..."]
    return "".join(keys)
