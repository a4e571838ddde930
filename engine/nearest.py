"""What somebody probably meant who wrote a name that is not there."""

import difflib
from collections.abc import Iterable


def nearest(written: str, known: Iterable[str]) -> str:
    """A clause such as "; did you mean 'slots'?", or a list of what there is."""
    names = list(known)
    close = difflib.get_close_matches(written, names, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(sorted(names))}"
