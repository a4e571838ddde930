"""The benchmark's arithmetic, and one real run of its smallest workload."""

import itertools
import json
import os
import time
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from engine.__main__ import app
from engine.bench.accounting import Attention
from engine.bench.growth import slot_numbers
from engine.bench.measuring import merged
from engine.bench.plots import chart
from engine.bench.results import LoadPoint, Machine, Memory, Results, Round
from engine.bench.spread import Spread, percentile, ratios, slope, spread, upper_half
from engine.bench.stages import measure_stages
from engine.bench.tables import as_object, rounded
from engine.bench.targets import Target, targets
from engine.bench.workloads import mixed, new_tests, offered, sample, stdio, trivial, workload
from engine.client import AssertTests, Client, Job, LocalEngine, Verdict
from engine.config import EngineConfig
from engine.errors import BadConfig

MACHINE = Machine(cores=2, model="one", memory_bytes=1, kernel="6", engine_python="3.12", candidate_python="3.12")
POINT = LoadPoint(
    factor=1.0,
    heeds=True,
    offered=100,
    done=100,
    refused=0,
    refusal_p50_ms=1,
    refusal_p99_ms=2,
    wrong_verdicts=0,
    client_cores=0,
    server_cores=0,
)


def target(name, *rounds):
    """The first target whose name holds the given words, for some rounds."""
    return next(line for line in targets(Results(machine=MACHINE, rounds=list(rounds))) if name in line.name)


def test_a_spread_is_the_median_with_the_extremes():
    assert spread([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0)
    assert spread([1.0, 2.0]).median == 1.5
    assert spread([0.81234, 0.7, 0.9]).text() == "0.81 (0.70-0.90)"
    assert spread([0.5]).text() == "0.50"
    with pytest.raises(ValueError, match="nothing"):
        spread([])


def test_ratios_are_taken_within_rounds():
    """A slow round is slow for both: the ratio of medians would be 1.5 here, that of each round is 2."""
    assert ratios([2.0, 20.0, 6.0], [1.0, 10.0, 3.0]) == Spread(2.0, 2.0, 2.0)


@pytest.mark.parametrize(("share", "value"), [(0.0, 1), (0.5, 5), (0.9, 9), (0.99, 10), (1.0, 10)])
def test_a_percentile_is_a_value_that_was_measured(share, value):
    assert percentile([10, 9, 8, 7, 6, 5, 4, 3, 2, 1], share) == value


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_the_slope_is_the_exponent_of_growth(exponent):
    assert slope([(size, 3 * size**exponent) for size in (1, 2, 4, 8)]) == pytest.approx(exponent, abs=1e-9)


def test_growth_is_read_where_a_constant_hides_it_least():
    assert upper_half([(4, 0), (1, 0), (2, 0), (8, 0), (16, 0)]) == [(4, 0), (8, 0), (16, 0)]
    assert upper_half([(1, 0), (2, 0)]) == [(1, 0), (2, 0)]


@pytest.mark.parametrize(("length", "every"), list(itertools.product((1, 7, 8, 50), (1, 8))))
def test_as_many_turns_as_the_step_see_every_item_once(length, every):
    seen = [item for turn in range(min(every, length)) for item in sample(range(length), every, turn)]
    assert sorted(seen) == list(range(length))
    assert all(sample(range(length), every, turn) for turn in range(20))


@pytest.mark.parametrize("made", [trivial(7), stdio(tests=3, count=2), mixed(20), offered(40)], ids=lambda made: made.name)
def test_a_workload_expects_a_verdict_of_every_job(made):
    assert len(made.jobs) == len(made.expected)
    assert len({job.id for job in made.jobs}) == len(made.jobs)


def test_the_mixed_workload_holds_a_tenth_of_each_kind():
    counts = {verdict: mixed(100).expected.count(verdict) for verdict in set(mixed(100).expected)}
    assert counts == {Verdict.FINISHED: 80, Verdict.TIME_LIMIT: 10, Verdict.MEMORY_LIMIT: 10}


def test_new_tests_differ_in_every_round_and_exist_only_for_test_code():
    job = replace(trivial(1).jobs[0], tests=AssertTests(code="assert f() == 1", entry_points=("f",)))
    asserting = replace(trivial(1), jobs=(job,))
    assert len({made.jobs[0].tests for turn in range(3) if (made := new_tests(asserting, turn))}) == 3
    assert new_tests(trivial(1), 0) is None


def test_an_unknown_workload_is_named_with_its_nearest():
    with pytest.raises(BadConfig, match="did you mean 'trivial'"):
        workload("trivail")


@pytest.mark.parametrize(
    ("bounds", "met"),
    [({"at_least": 2.0}, True), ({"at_least": 2.1}, False), ({"at_most": 2.0}, True), ({"at_most": 1.9}, False), ({}, None)],
)
def test_a_target_is_met_by_the_median(bounds, met):
    assert Target(name="some", measured=Spread(2.0, 0.0, 9.0), **bounds).met is met


def test_a_target_that_was_not_measured_is_neither_met_nor_missed():
    assert {line.met for line in targets(Results(machine=MACHINE, rounds=[Round()]))} == {None}


def test_the_stream_is_set_against_the_bare_fork_of_its_own_round():
    rounds = [
        Round(programs_per_second={"humaneval": {"engine: stream": 80.0 * pace, "bare fork": 100.0 * pace}}) for pace in (1, 5)
    ]
    assert target("against the bare fork", *rounds).measured == Spread(0.8, 0.8, 0.8)


def test_throughput_under_load_is_that_of_the_highest_load_against_the_best():
    points = [
        POINT,
        replace(POINT, factor=2.0, done=120),
        replace(POINT, factor=8.0, done=60, wrong_verdicts=1),
        replace(POINT, factor=8.0, done=30, heeds=False),
    ]
    overloaded = Round(load=points)
    assert target("throughput at 8 times", overloaded).measured == Spread(0.5, 0.5, 0.5)
    assert target("ignores refusals", overloaded).measured == Spread(0.25, 0.25, 0.25)
    assert target("verdicts changed", overloaded).met is False


def test_memory_is_told_in_megabytes():
    idle = Round(memory=Memory(slots=2, idle_bytes=19e6, used_bytes=21e6, peak_bytes=5))
    assert target("idle slot", idle).met is True


def test_a_round_joins_what_its_steps_found():
    pieces: list[dict[str, Any]] = [
        {"programs_per_second": {"a": {"x": 1.0}}},
        {"programs_per_second": {"a": {"y": 2.0}, "b": {"x": 3.0}}},
        {"engines": {1: 5.0}, "others": 0.3},
        {"others": 0.1},
        {},
    ]
    found = merged(pieces)
    assert found.programs_per_second == {"a": {"x": 1.0, "y": 2.0}, "b": {"x": 3.0}}
    assert found.engines == {1: 5.0}
    assert found.others == 0.3


@pytest.mark.parametrize(("cores", "numbers"), [(1, [1, 2]), (2, [1, 2, 3, 4]), (8, [1, 2, 4, 8, 9, 16])])
def test_slots_are_tried_up_to_twice_the_cores(cores, numbers):
    assert slot_numbers(cores) == numbers


@pytest.mark.parametrize("logarithmic", [False, True])
def test_a_chart_is_well_formed_and_stays_within_its_frame(logarithmic):
    drawn = ElementTree.fromstring(chart("a < b", "x", "y", {"line": [(1, 2), (10, 300)]}, logarithmic=logarithmic))
    for circle in drawn.iter("{http://www.w3.org/2000/svg}circle"):
        assert 0 <= float(circle.attrib["cx"]) <= 640
        assert 0 <= float(circle.attrib["cy"]) <= 400


def test_figures_are_kept_with_four_digits():
    assert rounded({"a": [(1.23456789, 2)], "b": 123456.7, "c": None, "d": True}) == {
        "a": [[1.235, 2]],
        "b": 123500.0,
        "c": None,
        "d": True,
    }


def test_others_had_what_was_neither_idle_nor_ours():
    """Of 2 cores in 10 s: 12 s at work, 9 s of that for us."""
    assert Attention(20.0, 112.0, 9.0).others(Attention(10.0, 100.0, 0.0), cores=2) == pytest.approx(0.15)
    assert Attention(20.0, 100.0, 9.0).others(Attention(10.0, 100.0, 0.0), cores=2) == 0


def test_results_can_be_kept_as_json():
    assert json.loads(json.dumps(as_object(Results(machine=MACHINE, rounds=[Round(load=[POINT])]))))["machine"]["cores"] == 2


@pytest.mark.jail
def test_the_smallest_workload_is_measured_by_every_contender(tmp_path):
    """A real run, in real jails."""
    arguments = ["bench", "--rounds", "1", "--patience", "0", "--workload", "trivial", "--json"]
    arguments += ["--save", str(tmp_path / "found" / "it.json")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    speeds = json.loads(done.stdout)["rounds"][0]["programs_per_second"]["trivial"]
    assert list(speeds) == [
        "bare fork",
        "bare fork, compiler warm",
        "new python",
        "new nsjail + python",
        "engine: stream",
        "engine: unary",
        "engine: grade",
    ]
    assert all(speed > 0 for speed in speeds.values())
    assert json.loads((tmp_path / "found" / "it.json").read_text())["machine"]["cores"] >= 1


@pytest.mark.jail
def test_what_an_engine_used_for_its_programs_counts_as_ours_when_it_is_gone():
    """Else a step with an engine of its own would look as if others had kept the cores busy."""
    before = Attention.now(os.getpid())
    with LocalEngine(slots=1) as engine, Client(engine.address) as client:
        jobs = [Job(id=str(number), program="import time\nwhile time.process_time() < 0.2: pass") for number in range(5)]
        used_s = sum(report.cpu_time_ms for report in client.execute_stream(jobs)) / 1000
    assert Attention.now(os.getpid()).own - before.own > used_s > 0.9


@pytest.mark.jail
def test_the_stages_of_a_program_are_measured_apart():
    """Each costs something, and making cells less than all that there was."""
    began = time.process_time_ns()
    stages = measure_stages(EngineConfig(slots=1), stdio(tests=3, count=2))
    assert 0 < stages.orders + stages.verdicts < (time.process_time_ns() - began) / 1e9
    assert 0 < stages.cells < 1
