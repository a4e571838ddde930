"""The table of a run: a column for each level, and for candidates that the token limit cut off."""

import io
from typing import Any

import pytest
from rich.console import Console

from trainer.summary import hints, tables


def summary(**verdicts: int) -> dict[str, Any]:
    """Of a run with one round, whose candidates met these verdicts."""
    return {"rounds": [{"round": 1, "pass_at_1": 0.5, "verdicts": verdicts, "seconds": {}}]}


def shown(result: dict[str, Any]) -> dict[str, str]:
    """The first table's row by column."""
    learnt, _ = tables(result)
    return {str(column.header): next(iter(column.cells)) for column in learnt.columns}  # type: ignore[misc]  # cells are texts


def test_candidates_that_were_cut_off_have_a_column() -> None:
    """They are no part of the others."""
    row = shown(summary(passed=5, cut_off=3, time_limit=2))
    assert (row["passed"], row["cut off"], row["other"]) == ("50%", "30%", "20%")


def test_without_them_there_is_no_such_column() -> None:
    """The others are those with another verdict."""
    row = shown(summary(passed=3, time_limit=1))
    assert "cut off" not in row
    assert row["other"] == "25%"


@pytest.mark.parametrize(("cut_off", "count"), [(0, 0), (4, 0), (6, 1)])
def test_the_cure_is_named_where_most_are_cut_off(cut_off: int, count: int) -> None:
    """Most: more than met any verdict."""
    found = hints(summary(passed=5, cut_off=cut_off), 80)
    assert len(found) == count
    assert all("raise sampling.max_response_tokens" in hint for hint in found)


def test_the_tables_fit_into_a_terminal() -> None:
    """Of 80 columns, with every column there is and large numbers in them."""
    result = summary(passed=5, cut_off=3, time_limit=2)
    seconds = dict.fromkeys(("samples", "model", "evaluation", "tasks"), 12345.6)
    result["rounds"][0] |= {"pairs": 68_000, "active": 1.0, "programs": 680_000, "programs_per_second": 1234, "seconds": seconds}
    console = Console(width=80, file=io.StringIO())
    console.print(*tables(result))
    assert "…" not in console.file.getvalue()  # type: ignore[attr-defined] # it is the StringIO
