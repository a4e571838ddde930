"""From verdicts to numbers, and the file that outlives an interruption."""

import itertools
import json
import math
from contextlib import suppress

import pytest

from engine.client import Job, Report, Trust, Verdict
from engine.commands.fields import fields_of
from engine.commands.results_file import results_file
from engine.errors import CannotWrite
from engine.fingerprint import fingerprint
from engine.grading import Tally, pass_at_k


@pytest.mark.parametrize("samples", range(1, 7))
def test_pass_at_k_is_the_share_of_draws_that_hold_a_pass(samples):
    """The estimator equals counting all subsets of k samples."""
    for passed, k in itertools.product(range(samples + 1), range(1, samples + 1)):
        draws = list(itertools.combinations(range(samples), k))
        share = sum(any(index < passed for index in draw) for draw in draws) / len(draws)
        assert math.isclose(pass_at_k(samples, passed, k), share, abs_tol=1e-12)


def tally_of(*verdicts, trust=Trust.EXAMINED):
    tally = Tally()
    for task_id, verdict in verdicts:
        tally.add(task_id, verdict, trust)
    return tally


def test_pass_at_k_is_the_mean_over_tasks():
    """However many samples each has."""
    tally = tally_of(("a", Verdict.PASSED), ("b", Verdict.PASSED), ("b", Verdict.WRONG_ANSWER), ("b", Verdict.TIME_LIMIT))
    assert tally.pass_at() == {1: pytest.approx((1 + 1 / 3) / 2)}


def test_only_those_k_are_told_for_which_all_tasks_have_samples():
    """pass@10 of nine samples does not exist."""
    nine = [("a", Verdict.PASSED)] * 9
    assert list(tally_of(*nine).pass_at()) == [1]
    assert list(tally_of(*nine, nine[0]).pass_at()) == [1, 10]
    assert tally_of().pass_at() == {}


def test_an_infrastructure_error_is_neither_pass_nor_failure():
    """It is counted as a verdict but is no sample."""
    tally = tally_of(("a", Verdict.PASSED), ("a", Verdict.INFRASTRUCTURE_ERROR), ("b", Verdict.INFRASTRUCTURE_ERROR))
    assert tally.pass_at() == {1: 1.0}
    assert (tally.programs, tally.passed, tally.tasks) == (3, 1, 1)


def test_passes_by_the_word_of_objects_are_counted():
    """Only passes: who fails gains nothing by what its objects say."""
    outcomes = [("a", Verdict.PASSED), ("b", Verdict.WRONG_ANSWER)]
    assert [tally_of(*outcomes, trust=trust).delegated for trust in (Trust.EXAMINED, Trust.EXAMINED_DELEGATED)] == [0, 1]


def line_of(job, verdict=Verdict.PASSED):
    return fields_of(Report(id=job.id, verdict=verdict)) | {"job_sha256": fingerprint(job)}


A, B = Job(id="a", program="1"), Job(id="b", program="2")


def interrupted(path, *lines):
    """A call that is interrupted after writing these lines."""
    with suppress(KeyboardInterrupt), results_file(path) as results:
        results.begin([])
        for line in lines:
            results.add(line)
        raise KeyboardInterrupt


def test_the_file_is_whole_or_absent(tmp_path):
    """What an interrupted call wrote is beside it; a finished one leaves nothing beside it."""
    path = tmp_path / "out.jsonl"
    interrupted(path, line_of(A))
    assert [file.name for file in tmp_path.iterdir()] == ["out.jsonl.part"]
    with results_file(path) as results:
        results.begin(["a"])
        results.add(line_of(B))
        results.finish()
    assert [file.name for file in tmp_path.iterdir()] == ["out.jsonl"]
    assert [json.loads(line)["id"] for line in path.read_text().splitlines()] == ["a", "b"]


def test_an_interrupted_call_is_taken_up(tmp_path):
    """Whole lines of the same jobs with a verdict on the program count; others do not."""
    path = tmp_path / "out.jsonl"
    interrupted(path, line_of(A), line_of(B, Verdict.INFRASTRUCTURE_ERROR))
    with (tmp_path / "out.jsonl.part").open("a") as part:
        part.write('{"id": "c", "verd')
    with results_file(path) as results:
        assert results.graded(A) == (Verdict.PASSED, Trust.NOT_TESTED)
        assert results.graded(B) is None
        assert results.graded(Job(id="a", program="other")) is None
        assert results.graded(Job(id="c", program="")) is None


def test_a_place_that_cannot_be_written_is_refused(tmp_path):
    """With its name and the cure."""
    refused = pytest.raises(CannotWrite, match="no such file or directory; choose another --out")
    with refused, results_file(tmp_path / "absent" / "out.jsonl") as results:
        results.begin([])
