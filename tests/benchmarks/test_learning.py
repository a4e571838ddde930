"""The comparison of objectives, whole and small: what it shares, repeats, prints and saves."""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.learning.comparison import main, measure
from benchmarks.learning.plot import write_plot
from benchmarks.learning.report import Result, as_json, sentences, tables
from benchmarks.learning.runs import Arm, Runs
from engine.client import Job, Verdict
from tests.trainer import small
from tests.trainer.fakes import FakeExecutor
from trainer.run_folder import open_run

OPTIONS = argparse.Namespace(
    seeds=[1, 2], objectives=["rrtf", "sft"], iterated=["rrtf"], rounds=2, rates=[1e-3, 3e-3], tuning_seed=0
)


def half_passes(job: Job) -> Verdict:
    """Gold solutions pass, and what is of even length."""
    written = "/samples/" in job.id or "/evaluation/" in job.id
    return Verdict.WRONG_ANSWER if written and len(str(job.program)) % 2 else Verdict.PASSED


def runs(folder: Path, executor: FakeExecutor) -> Runs:
    return Runs(small.recipe(folder), folder, executor.connect)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    folder = tmp_path_factory.mktemp("learning")
    return folder, measure(runs(folder, FakeExecutor(half_passes)), OPTIONS)


def test_what_is_there_is_not_repeated(measured: tuple[Path, Result]) -> None:
    """The same command sends no program, and finds the same."""
    folder, result = measured
    again = FakeExecutor(half_passes)
    assert measure(runs(folder, again), OPTIONS) == result
    assert again.ids == []


def test_an_interrupted_comparison_continues(tmp_path: Path, measured: tuple[Path, Result]) -> None:
    """And ends as one without interruption."""
    with pytest.raises(KeyboardInterrupt):
        measure(runs(tmp_path, FakeExecutor(half_passes, fail_at="round-2/evaluation")), OPTIONS)
    assert measure(runs(tmp_path, FakeExecutor(half_passes)), OPTIONS) == measured[1]


def test_all_objectives_of_a_seed_share_start_and_samples(measured: tuple[Path, Result]) -> None:
    """The very same files, and other ones for another seed."""
    folder, _ = measured
    for shared in ("start/model", "round-1/samples"):
        offline = {(path / shared).resolve() for path in (folder / "seed-1").glob("offline-*")}
        assert len(offline) == 1
        assert offline != {(path / shared).resolve() for path in (folder / "seed-2").glob("offline-*")}


def test_all_objectives_take_the_same_number_of_steps(measured: tuple[Path, Result]) -> None:
    """On the same tasks, and there are some."""
    folder, _ = measured
    steps = {len(path.read_text().splitlines()) for path in (folder / "seed-1").glob("offline-*/round-1/model/steps.jsonl")}
    assert len(steps) == 1
    assert min(steps) > 0


def test_each_learning_rate_is_tried_on_the_tuning_seed_only(measured: tuple[Path, Result]) -> None:
    """The best one, the lower where they tie, is the rate of every reported run."""
    folder, result = measured
    for name, found in result.tuned.items():
        assert list(found) == OPTIONS.rates
        assert found[result.rates[name]] == max(found.values())
        assert [path.name for path in (folder / "seed-1").glob(f"offline-{name}-*")] == [f"offline-{name}-{result.rates[name]:g}"]


def test_a_changed_recipe_is_not_mistaken_for_the_old_one(measured: tuple[Path, Result]) -> None:
    """Its runs lie in folders of their own."""
    folder, _ = measured
    other = FakeExecutor(half_passes)
    changed = small.recipe(folder).model_copy(update={"scoring": small.recipe(folder).scoring.model_copy(update={"limit": -0.9})})
    Runs(changed, folder, other.connect).offline(1, Arm(name="sft", objective={"name": "sft"}, learning_rate=1e-3))
    assert any("/samples/" in name for name in other.ids)


def test_a_run_that_another_process_works_on_is_waited_for(tmp_path: Path) -> None:
    """Comparisons on one folder share what they have in common, and neither fails."""
    small_one = small.recipe(tmp_path)
    theirs = small_one.model_copy(
        update={"run": small_one.run.model_copy(update={"name": "start", "folder": f"{tmp_path}/seed-0"})}
    )
    locked = open_run(theirs)
    waited: list[bool] = []

    def wait() -> None:
        waited.append(True)
        locked.close()

    executor = FakeExecutor(half_passes)
    assert Runs(small_one, tmp_path, executor.connect, wait).start(0)
    assert waited == [True]
    assert [path.name for path in (tmp_path / "seed-0").iterdir()] == ["start"]


@pytest.mark.jail
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_command_compares_on_the_real_engine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From tasks to a table, JSON and a plot, every program in a jail."""
    size = ["--start", "32", "--train", "8", "--held-out", "6", "--rounds", "2"]
    what = ["--seeds", "1", "2", "--tuning-seed", "0", "--rates", "1e-3", "--objectives", "rrtf", "sft", "--iterated", "rrtf"]
    where = ["--folder", f"{tmp_path}/runs", "--save", f"{tmp_path}/learning.json", "--plots", f"{tmp_path}/plots"]
    assert main([*size, *what, *where]) == 0
    assert "| objective | seed 1 | seed 2 | mean |" in capsys.readouterr().out
    saved = json.loads((tmp_path / "learning.json").read_text())
    assert [len(saved[kind]["rrtf"]) for kind in ("offline", "iterated")] == [2, 2]
    assert saved["recipe"]["tasks"]["start"] == 32
    assert (tmp_path / "plots/learning.svg").is_file()


def solved(*shares: int) -> list[tuple[bool, ...]]:
    return [tuple(task < share for task in range(100)) for share in shares]


RESULT = Result(
    seeds=[1, 2, 3],
    tuned={"rrtf": {1e-3: 0.5}, "sft": {1e-3: 0.4}, "ssd": {1e-3: 0.1}},
    rates={"rrtf": 1e-3, "sft": 1e-3, "ssd": 1e-3},
    rounds=3,
    start=solved(20, 22, 18),
    offline={"rrtf": solved(50, 53, 48), "sft": solved(48, 55, 47), "ssd": solved(10, 11, 9)},
    iterated={"rrtf": solved(60, 58, 62)},
)


def test_what_is_said_follows_from_the_numbers() -> None:
    """A control far below, one that is about as good, and the factor of the paper."""
    assert sentences(RESULT) == [
        "offline: RRTF is better than ssd",
        "offline: RRTF is not told apart from sft",
        "iterated RRTF takes the start's pass@1 from 20.0% to 60.0%, times 3.00, which reaches the paper's 1.9",
    ]


def test_a_start_that_solves_nothing_has_no_factor() -> None:
    """Nothing is divided by it."""
    assert sentences(replace(RESULT, start=solved(0, 0, 0)))[-1] == "iterated RRTF takes the start's pass@1 from 0.0% to 60.0%"


def test_the_table_has_a_line_for_each_way_to_train() -> None:
    """With the mean over the seeds."""
    lines = [line for line in tables(RESULT).splitlines() if line.startswith("| ssd")]
    assert len(lines) == 2
    assert "| 10.0% |" in lines[1]


def test_all_that_was_measured_is_saved_by_seed() -> None:
    """As JSON."""
    saved = json.loads(json.dumps(as_json(RESULT)))
    assert saved["offline"]["rrtf"] == [0.5, 0.53, 0.48]
    assert saved["rrtf_leads"]["offline"]["ssd"]["difference"] == pytest.approx(0.4033, abs=1e-4)


def test_the_plot_has_a_dot_for_each_seed(tmp_path: Path) -> None:
    """Of four runs."""
    assert write_plot(RESULT, tmp_path).read_text().count("<circle") == 4 * 3
