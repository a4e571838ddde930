"""The journal of a stage, and what of it counts."""

from pathlib import Path

import pytest

from trainer.journal import journal


def test_what_was_written_is_there_again(tmp_path: Path) -> None:
    """Also without a proper end, for a line is on its way to the disk before the next thing is done."""
    with journal(tmp_path / "j") as lines:
        lines.add({"text": "zwei\nZeilen"})
        lines.add({"n": 2})
        assert (tmp_path / "j").read_bytes().count(b"\n") == 2
    with journal(tmp_path / "j") as lines:
        assert lines.earlier == [{"text": "zwei\nZeilen"}, {"n": 2}]


@pytest.mark.parametrize("cut", range(1, 11))
def test_a_torn_line_is_cut_off(tmp_path: Path, cut: int) -> None:
    """Wherever the process died in it; the next line stands on a line of its own."""
    path = tmp_path / "j"
    with journal(path) as lines:
        lines.add({"n": 1})
        lines.add({"n": 2})
    path.write_bytes(path.read_bytes()[: 9 + cut][:-1])
    with journal(path) as lines:
        assert lines.earlier == [{"n": 1}]
        lines.add({"n": 3})
    with journal(path) as lines:
        assert lines.earlier == [{"n": 1}, {"n": 3}]
