"""What somebody probably meant who wrote a name that is not there."""

import difflib
from collections.abc import Iterable

_MOST_LISTED = 40
"""More names than that nobody reads."""


def nearest(written: str, known: Iterable[str]) -> str:
    """A clause such as "; did you mean 'slots'?", or a list of what there is, or how many there are of it."""
    names = sorted(set(known))
    close = difflib.get_close_matches(written, names, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there are {', '.join(names) if len(names) <= _MOST_LISTED else len(names)}"
