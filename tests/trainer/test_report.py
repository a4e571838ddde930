"""What a report says of a run: bands, flows and counts by hand, and the page in a real browser."""

import io
import json
import math
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from rich.console import Console

from engine.client import Job, Verdict
from tests.trainer import small
from tests.trainer.fakes import FakeExecutor
from trainer.bootstrap import interval
from trainer.errors import RecipeError
from trainer.flow import filters, verdict_flow
from trainer.main import run
from trainer.ranking import rank
from trainer.recipe import Scoring
from trainer.records import read_lines, write_lines
from trainer.report import main
from trainer.run_folder import finished_run, open_run
from trainer.screen import Screen, note_of_step, note_of_verdicts
from trainer.summary import summarise
from trainer.trackers import FiniteOnly, check, identity

CHARTS = ("passes", "verdicts", "losses", "norms", "flow")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


def differing(job: Job) -> Verdict:
    """Gold solutions pass, and one in two of what a student wrote."""
    is_student = "/samples/" in job.id or "/evaluation/" in job.id
    return Verdict.WRONG_ANSWER if is_student and len(str(job.program)) % 2 else Verdict.PASSED


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two finished runs with seeds of their own."""
    folder, paths = tmp_path_factory.mktemp("runs"), []
    for seed in (0, 1):
        opened = open_run(small.recipe(folder, seed=seed))
        run(small.recipe(folder, seed=seed), opened, FakeExecutor(differing).connect, Screen(Console(quiet=True)))
        opened.close()
        paths.append(opened.path)
    return paths


def draw(paths: list[Path], tmp_path: Path) -> str:
    """The page of some runs, as a real browser makes it."""
    page = tmp_path / "page.html"
    assert main([*map(str, paths), "--out", str(page)]) == 0
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--enable-logging=stderr",
        "--dump-dom",
        f"--user-data-dir={tmp_path}/c",
    ]
    done = subprocess.run([str(CHROMIUM), *options, f"file://{page}"], capture_output=True, text=True, check=True, timeout=90)
    assert "Uncaught" not in done.stderr
    return done.stdout


def card(drawn: str, name: str) -> str:
    """One chart of a page."""
    return drawn.split(f'id="{name}"')[1].split("</section>")[0]


def test_a_band_holds_the_mean_and_narrows_with_more_tasks() -> None:
    """About 1.96 standard errors to each side; for half of 400 tasks that is 4.9 points."""
    low, high = interval([0.0, 1.0] * 200)
    assert low == pytest.approx(0.451, abs=0.01)
    assert high == pytest.approx(0.549, abs=0.01)
    few_low, few_high = interval([0.0, 1.0] * 10)
    assert few_low < low < high < few_high


def test_where_all_tasks_are_alike_the_band_is_a_point() -> None:
    """So it is where there are none."""
    assert interval([1.0] * 5) == (1.0, 1.0)
    assert interval([]) == (0.0, 0.0)


def test_the_flow_counts_tasks_by_their_verdicts_before_and_after() -> None:
    """Those that both evaluations have."""
    before = [
        small.outcome("x", verdict, task_id=task) for task, verdict in (("a", "passed"), ("b", "wrong_answer"), ("c", "passed"))
    ]
    after = [small.outcome("y", "passed", task_id=task) for task in ("a", "b", "d")]
    assert sorted(verdict_flow(before, after)) == [("passed", "passed", 1), ("wrong_answer", "passed", 1)]


def test_what_was_left_out_and_what_ties_is_counted() -> None:
    """One cut off, one equal to another, one that passes as the teacher does, one that fails."""
    teacher = small.outcome("gold", "passed", teacher=True, name="t")
    students = [
        small.outcome("right", "passed", name="1"),
        small.outcome("wrong", "wrong_answer", name="2"),
        small.outcome("wrong", "wrong_answer", name="3"),
        small.outcome("long", "compile_error", truncated=True, name="4"),
    ]
    ranked = rank("task", "prompt", [teacher, *students], Scoring())
    assert ranked is not None
    assert filters(students, [ranked]) == {
        "sampled": 4,
        "cut off": 1,
        "equal to another or to the teacher's": 1,
        "ranked": 2,
        "pairs with a tie": 1,
        "pairs dropped, the student above": 0,
    }


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize("count", [1, 2])
def test_the_page_draws_its_data_without_a_script_error(runs: list[Path], tmp_path: Path, count: int) -> None:
    """In a real browser: every chart has marks, the tables have rows, samples are shown, and of several runs one is chosen."""
    drawn = draw(runs[:count], tmp_path)
    cards = {name: card(drawn, name) for name in CHARTS}
    assert all("<svg" in part and ("<polyline" in part or "<rect" in part or "<path" in part) for part in cards.values())
    assert cards["passes"].count("<polygon") == count
    assert drawn.split('id="filters"')[1].count("<td>") >= 6
    assert "the task's own solution" in drawn
    assert ("The runs compared" in drawn) is (count > 1)


@pytest.fixture
def skipping(runs: list[Path], tmp_path: Path) -> Path:
    """A run whose rounds began with a step that was skipped, since its loss and gradient were no numbers."""
    path = shutil.copytree(runs[0], tmp_path / "run")
    for steps in path.glob("round-*/model/steps.jsonl"):
        first, *others = read_lines(steps)
        no_numbers = dict.fromkeys(("loss", "rank", "ft", "gradient_norm"), math.nan)
        write_lines(steps, [{**first, **no_numbers, "skipped": True}, first, *others])
    return path


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_step_that_was_skipped_leaves_the_curves(skipping: Path, tmp_path: Path) -> None:
    """Every other step is a point of each, and no scale is lost."""
    drawn = draw([skipping], tmp_path)
    for name in ("losses", "norms"):
        curves = re.findall(r'<polyline points="([^"]*)"', card(drawn, name))
        assert curves
        assert all(re.fullmatch(r"[\d.]+,[\d.]+( [\d.]+,[\d.]+)*", curve) for curve in curves)
        assert "NaN" not in card(drawn, name)


def test_a_summary_is_json_though_a_step_was_skipped(skipping: Path) -> None:
    """Its means are those of the other steps."""
    folder, recipe = finished_run(skipping)
    summary = summarise(recipe, folder)
    assert json.loads(json.dumps(summary, allow_nan=False))["rounds"][1]["loss_first"] > 0
    assert summary["rounds"][1]["steps"] == len(list(read_lines(skipping / "round-1/model/steps.jsonl")))


def test_trackers_are_told_numbers_only() -> None:
    """Whatever else a step has."""
    told: list[Mapping[str, float]] = []

    class Told:
        def log(self, stage: str, step: int, numbers: Mapping[str, float]) -> None:
            told.append(numbers)

    FiniteOnly(Told()).log("round-1", 0, {"loss": math.nan, "gradient_norm": math.inf, "pairs": 4})
    assert told == [{"pairs": 4}]


def test_a_run_that_is_not_finished_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With exit code 2."""
    assert main([str(tmp_path)]) == 2
    assert "no finished run lies there; name a folder such as runs/embedded" in capsys.readouterr().err


def test_a_run_that_goes_on_is_known_to_trackers(tmp_path: Path) -> None:
    """And is not taken for another one."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    first = identity(tmp_path / "first")
    assert identity(tmp_path / "first") == first
    assert identity(tmp_path / "second") != first


def test_a_tracker_that_is_not_installed_is_one_line() -> None:
    """It says what brings it."""
    with pytest.raises(RecipeError, match=r"is not installed; .* -m pip install trackio brings it"):
        check(("trackio",))


def test_the_screen_tells_how_a_stage_goes() -> None:
    """The losses and the norm, active pairs, and the mix of verdicts."""
    step = {"loss": 1.25, "rank": 0.5, "ft": 0.75, "gradient_norm": 2.0, "pairs": 4, "active_pairs": 1}
    assert note_of_step(step) == "loss 1.25, rank 0.5, ft 0.75, norm 2, active 25%"
    assert note_of_step({"loss": 1.25, "gradient_norm": 2.0}) == "loss 1.25, norm 2"
    assert note_of_verdicts({"passed": 1, "wrong_answer": 3}) == "wrong answer 75%, passed 25%"


def test_the_screen_counts_what_was_done_now() -> None:
    """Of a stage that goes on after an interruption, what was there already stands in the bar and in no rate."""
    console = Console(file=io.StringIO(), width=200)
    with Screen(console).bars(("executed", 1_000_000, "programs"), there=[900_000]) as [on_executed]:
        on_executed()
    assert "executed 1 more programs in " in console.file.getvalue()  # type: ignore[attr-defined] # it is the StringIO
    assert "900" not in console.file.getvalue()  # type: ignore[attr-defined]
