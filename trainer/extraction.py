"""Taking the program out of a response: only the code is executed and trained on."""

from collections.abc import Sequence


def extract(response: str, stop_at: Sequence[str]) -> tuple[str, bool]:
    """The response up to the first of the marks in `stop_at`, and whether there was one.

    The line break that opens a mark stays with the code.
    """
    found = [(position, mark) for mark in stop_at if (position := response.find(mark)) >= 0]
    if not found:
        return response, False
    position, mark = min(found)
    return response[: position + 1 if mark.startswith("\n") else position], True
