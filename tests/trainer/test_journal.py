"""The journal of a stage, and what of it counts."""

import resource
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
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


@contextmanager
def full_at(size: int) -> Iterator[None]:
    """No file may grow beyond so many bytes, as on a disk that has no more."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_line_that_did_not_fit_leaves_no_trace(tmp_path: Path) -> None:
    """Whatever follows it, from any thread, once there is room."""
    with journal(tmp_path / "j") as lines:
        lines.add({"n": 1})
        with full_at(13), pytest.raises(OSError, match="too large"):
            lines.add({"n": 2})
        lines.add({"n": 3})
    with journal(tmp_path / "j") as lines:
        assert lines.earlier == [{"n": 1}, {"n": 3}]


@pytest.fixture
def _busy_threads() -> Iterator[None]:
    """They take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("_busy_threads")
def test_threads_on_a_full_disk_lose_their_own_lines_only(tmp_path: Path) -> None:
    """What was written is there, and nothing else, though others failed at the same time; tried often, for it needs ill luck."""

    def add(number: int) -> int | None:
        try:
            lines.add({"n": number, "text": "x" * (number % 7 * 50)})
        except OSError:
            return None
        return number

    for path in (tmp_path / str(n) for n in range(12)):
        with full_at(20_000), journal(path) as lines, ThreadPoolExecutor(8) as threads:
            written = {number for number in threads.map(add, range(2_000)) if number is not None}
        assert 0 < len(written) < 2_000
        with journal(path) as lines:
            assert sorted(line["n"] for line in lines.earlier) == sorted(written)
