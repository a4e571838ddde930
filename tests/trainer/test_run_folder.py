"""Stages in a run folder: when one is taken up, set aside, or lent to another run."""

import os
from pathlib import Path

import pytest

from tests.trainer import small
from trainer.run_folder import THERE, UNFINISHED, RunFolder, open_run

INPUTS = {"settings": "a", "model": "b"}
OTHERS = {"settings": "a", "model": "c"}


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    opened = open_run(small.recipe(tmp_path))
    opened.close()
    return opened


def make(folder: RunFolder, stage: str, content: str, inputs: dict[str, str] = INPUTS) -> None:
    with folder.stage(stage, inputs) as path:
        (path / "made.txt").write_text(content)


def interrupt(folder: RunFolder, stage: str) -> None:
    """Leaves a stage half done."""
    try:
        with folder.stage(stage, INPUTS) as path:
            (path / UNFINISHED / "progress").write_text("half")
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass


def test_a_stage_is_taken_up_where_its_inputs_are_the_same(folder: RunFolder) -> None:
    """Then it is not touched."""
    make(folder, "round-1/model", "weights")
    assert folder.take_up("round-1/model", INPUTS) == THERE


def test_a_stage_with_other_inputs_is_set_aside(folder: RunFolder) -> None:
    """It is to be made anew, and what it had made is still there."""
    make(folder, "round-1/model", "weights")
    assert folder.take_up("round-1/model", OTHERS) == ""
    assert not folder.is_done("round-1/model")
    assert (folder.path / "round-1/model.outdated/made.txt").read_text() == "weights"


def test_an_interrupted_stage_finds_what_it_had_done(folder: RunFolder) -> None:
    """In its subfolder, which is gone when the stage is finished."""
    interrupt(folder, "tasks")
    with folder.stage("tasks", INPUTS) as path:
        assert (path / UNFINISHED / "progress").read_text() == "half"
    assert not (folder.path / "tasks" / UNFINISHED).exists()


def test_what_was_begun_with_other_inputs_is_thrown_away(folder: RunFolder) -> None:
    """Half of one thing is no half of another."""
    interrupt(folder, "tasks")
    with folder.stage("tasks", OTHERS) as path:
        assert not (path / UNFINISHED / "progress").exists()


def test_a_stage_that_was_killed_just_before_its_end_is_complete(folder: RunFolder) -> None:
    """Its manifest was written, its folder not yet renamed."""
    make(folder, "tasks", "all")
    final = folder.path / "tasks"
    final.rename(final.with_name("tasks.partial"))
    (folder.path / "tasks.partial" / UNFINISHED).mkdir()
    assert folder.take_up("tasks", INPUTS) == THERE
    assert sorted(path.name for path in final.iterdir()) == ["made.txt", "manifest.json"]


def test_the_fingerprint_of_a_stage_follows_what_it_made(folder: RunFolder) -> None:
    """And what it was made from: either changes what stands on it."""
    for stage, content, inputs in (("a", "x", INPUTS), ("b", "x", INPUTS), ("c", "y", INPUTS), ("d", "x", OTHERS)):
        make(folder, stage, content, inputs)
    same, *others = (folder.fingerprint(stage) for stage in ("b", "c", "d"))
    assert folder.fingerprint("a") == same
    assert len({same, *others}) == 3


def test_another_run_lends_what_was_made_from_the_same(folder: RunFolder, tmp_path: Path) -> None:
    """And nothing else; what it keeps is not touched."""
    make(folder, "tasks", "all")
    make(folder, "start/model", "weights", OTHERS)
    borrower = open_run(small.recipe(tmp_path, seed=1, take_over=str(folder.path)))
    borrower.close()
    assert borrower.take_up("tasks", INPUTS) == str(folder.path)
    assert (borrower.path / "tasks/made.txt").read_text() == "all"
    assert borrower.take_up("start/model", INPUTS) == ""
    assert folder.is_done("tasks")


def test_what_another_run_lends_is_whole(folder: RunFolder, tmp_path: Path) -> None:
    """Nothing that an interrupted stage of the borrower had left is among it."""
    make(folder, "tasks", "all")
    borrower = open_run(small.recipe(tmp_path, seed=1, take_over=str(folder.path)))
    borrower.close()
    (borrower.path / "tasks.partial").mkdir()
    (borrower.path / "tasks.partial/half.txt").write_text("half")
    borrower.take_up("tasks", INPUTS)
    assert sorted(path.name for path in (borrower.path / "tasks").iterdir()) == ["made.txt", "manifest.json"]


def test_a_stage_that_could_not_be_copied_whole_is_not_taken_for_one(folder: RunFolder, tmp_path: Path) -> None:
    """Whatever came in between, the next look finds no manifest: it is the last of the copy's files."""
    make(folder, "tasks", "all")
    borrower = open_run(small.recipe(tmp_path / ("long" * 40), seed=1, take_over=str(folder.path)))
    borrower.close()
    longest = os.pathconf(tmp_path, "PC_PATH_MAX") - 1
    deep = folder.path / "tasks"
    while len(str(deep)) < longest - 100:  # short enough here, too long in the borrower's folder
        deep /= "d" * min(80, longest - 20 - len(str(deep)))
    deep.mkdir(parents=True)
    for _ in range(2):
        with pytest.raises(OSError, match="too long"):
            borrower.take_up("tasks", INPUTS)
    assert not borrower.is_done("tasks")


def test_a_run_that_was_killed_at_its_first_breath_is_begun_again(tmp_path: Path) -> None:
    """In the same folder, which held a lock and nothing else."""
    (tmp_path / "small").mkdir()
    (tmp_path / "small/.lock").touch()
    opened = open_run(small.recipe(tmp_path))
    opened.close()
    assert opened.path == tmp_path / "small"


def test_a_run_is_continued_with_other_settings_that_decide_nothing(tmp_path: Path) -> None:
    """Such as the device, or how often it is saved; its seed decides."""
    opened = open_run(small.recipe(tmp_path))
    opened.close()
    for run, continued in (({"device": "cpu", "checkpoint_steps": 3}, True), ({"seed": 7}, False)):
        again = open_run(small.recipe(tmp_path, **run))
        again.close()
        assert again.continued is continued
