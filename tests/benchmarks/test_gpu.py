"""The measurements for GPUs run here as well, in small: the same code with a small model on the CPU."""

import json
from typing import Any

import pytest

from benchmarks.gpu.__main__ import PARTS, main
from benchmarks.gpu.measuring import figures, ratios
from benchmarks.gpu.training import ways
from tests.trainer import small

SMALL = ["--device", "cpu", "--width", "64", "--layers", "1", "--vocabulary", "600"]
BRIEF = [*SMALL, "--tasks", "2", "--prompt", "12", "--response", "8"]


def asked(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """What a part prints."""
    assert main(arguments) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.parametrize("part", PARTS)
def test_each_part_says_what_it_measures(part: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In its help, with the first sentence of it among the parts."""
    for arguments in ([part, "--help"], ["--help"]):
        with pytest.raises(SystemExit):
            main(arguments)
        assert (PARTS[part].__doc__ or "").splitlines()[0] in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("part", PARTS)
def test_a_device_that_is_not_there_is_said_at_once(part: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In one line that names the option, with exit code 2."""
    with pytest.raises(SystemExit) as end:
        main([part, "--device", "cuda:99"])
    assert end.value.code == 2
    assert "error: --device: torch cannot compute on 'cuda:99'" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("way", ways("cpu"))
def test_each_way_of_training_is_measured(way: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In this process: every one trains the same tokens."""
    found = asked(capsys, "training", *BRIEF, "--steps", "1", "--measure", way)
    assert found["tokens"] == asked(capsys, "training", *BRIEF, "--steps", "1", "--measure", "base")["tokens"]
    assert found["seconds"] > 0


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_each_way_of_training_changes_one_thing(device: str) -> None:
    """Against the base, so that its ratio has one cause."""
    base, *others = ways(device).values()
    assert others
    for way in others:
        assert sum(getattr(way, name) != getattr(base, name) for name in vars(base)) == 1


@pytest.mark.slow
def test_ways_are_compared_in_processes_of_their_own(capfd: pytest.CaptureFixture[str]) -> None:
    """Ratios first; a way that fails is named with its last words and costs the others nothing."""
    found = asked(capfd, "training", *BRIEF, "--steps", "1", "--ways", "lora", "no-such-way")
    assert next(iter(found)) == "ratios_to_base"
    assert set(found["ratios_to_base"]) == {"lora"}
    assert set(found["measured"]) == {"base", "lora"}
    assert found["failed"] == {"no-such-way": "KeyError: 'no-such-way'"}
    assert found["parameters"] > 0


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    small.model(width=64).save(folder)  # vLLM on a CPU knows no smaller heads
    return str(folder)


@pytest.mark.parametrize(
    "sampler",
    [
        "transformers",
        "transformers-static",
        pytest.param("vllm", marks=[pytest.mark.vllm, pytest.mark.slow, pytest.mark.filterwarnings("ignore")]),
    ],
)
@pytest.mark.timeout(600)
def test_each_sampler_is_measured(sampler: str, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In this process: six responses, hardly any of which ends before its limit of eight tokens."""
    found = asked(capsys, "samplers", *BRIEF, "--model", model, "--samples", "3", "--rows", "3", "--measure", sampler)
    assert 40 < found["tokens"] <= 2 * 3 * 8
    assert found["seconds"] > 0
    assert found["peak_bytes"] >= 0


@pytest.mark.slow
def test_samplers_are_compared_on_one_model(capfd: pytest.CaptureFixture[str]) -> None:
    """With random weights, where none is given."""
    found = asked(capfd, "samplers", *BRIEF, "--samplers", "transformers", "transformers-static")
    assert set(found["ratios_to_transformers"]) == {"transformers-static"}
    assert found["failed"] == {}


def test_ratios_are_those_of_speed_and_memory() -> None:
    """By hand: twice the tokens a second in half the memory."""
    found = {
        "one": {"tokens": 100.0, "seconds": 2.0, "peak_bytes": 2.0**21},
        "other": {"tokens": 100.0, "seconds": 1.0, "peak_bytes": 2.0**20},
    }
    assert ratios(found, "one") == {"other": {"speed": 2.0, "memory": 0.5}}
    assert ratios({"other": found["other"]}, "one") == {}
    assert figures(found)["one"] == {"tokens_per_second": 50.0, "peak_mib": 2.0}


@pytest.mark.jail
@pytest.mark.slow
def test_the_overlap_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    """Real programs on a real engine, at the pace of a model that samples."""
    found = asked(capsys, "overlap", *SMALL, "--programs", "30", "--rows", "15", "--longest", "4")
    [one] = found["rounds"]
    assert one["ratio"] == pytest.approx(one["together"] / max(one["sampling"], one["execution"]), rel=0.05)
    assert found["round_over_the_slower"] == one["ratio"]
