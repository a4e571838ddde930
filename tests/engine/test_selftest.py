"""The lists as data, the cases made of them, what counts as held, and the command. A fake engine passes every program."""

import json
import math
import re
from pathlib import Path

import pytest

from engine.__main__ import main
from engine.client import LocalEngine
from engine.errors import BadConfig
from engine.records import AssertTests, FunctionTests, Report, StdioTests, Verdict
from engine.selftest.cases import FAILURES, Case, cases_of, judge
from engine.selftest.lists import NAMES, literal, read_list, read_problem
from tests.engine.test_client import FAKE

ROOT = Path(__file__).parents[2]
PROBLEM = read_problem()
ENTRY = 'threat = "It is a threat."\nprogram = "pass"\n'


@pytest.fixture
def write(tmp_path):
    """Makes a list of one file of one entry, and reads it."""

    def write(fields, name="forgery"):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "family.toml").write_text(f"[entry]\n{ENTRY}{fields}\n")
        return read_list(name, tmp_path)

    return write


def report(verdict, **fields):
    return Report(id="case", verdict=verdict, **fields)


def case(name="forgery", **fields) -> Case:
    entries = {"entry": next(iter(read_list(name).values())).model_copy(update=fields)}
    return cases_of(name, entries, PROBLEM)[0]


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ("verdict = 'passed'", "family.toml: 'entry': verdict: "),
        ("expect = ['well']", "expect.0"),
        ("expect = []", "expect"),
        ("limits = { memory = 1 }", "did you mean 'memory_bytes'"),
        ("tests = { code = 'pass' }", "entry_points"),
        ("threat = 'again'", "family.toml: Cannot overwrite"),
        ("tests = { entry_point = 'f', calls = [{ expected = 'len' }] }", "'len' is no literal"),
    ],
)
def test_an_entry_that_cannot_be_meant_is_an_error_with_its_place(write, fields, complaint):
    with pytest.raises(BadConfig) as error:
        write(fields)
    assert complaint in str(error.value)


def test_two_entries_of_one_name_are_an_error(write, tmp_path):
    """Also in two files: names are how findings are told apart."""
    write("")
    (tmp_path / "forgery" / "other.toml").write_text(f"[entry]\n{ENTRY}")
    with pytest.raises(BadConfig, match=r"other\.toml: there is another entry 'entry'"):
        read_list("forgery", tmp_path)


def test_a_list_without_entries_is_an_error(tmp_path):
    with pytest.raises(BadConfig, match="no list 'abuse'"):
        read_list("abuse", tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_every_entry_says_its_threat_in_a_sentence(name):
    for title, entry in read_list(name).items():
        assert entry.threat.endswith("."), title


@pytest.mark.parametrize("name", NAMES)
def test_the_documented_table_counts_what_there_is(name):
    entries = read_list(name)
    programs = len(cases_of(name, entries, PROBLEM))
    assert f"| {name} | {len(entries)} | {programs} | {programs} | 0 |" in (ROOT / "docs/security.md").read_text()


def test_a_forgery_is_run_over_every_kind_of_tests():
    """And once without any, where it may end well but never pass."""
    kinds = {type(case.job.tests): case for case in cases_of("forgery", {"e": read_list("forgery")["raise SystemExit"]}, PROBLEM)}
    assert set(kinds) == {AssertTests, FunctionTests, StdioTests, type(None)}
    assert "finished" in kinds[type(None)].allowed
    assert "finished" not in kinds[StdioTests].allowed


def test_an_entry_with_tests_of_its_own_is_run_against_them_alone(write):
    entries = write("[entry.tests]\nentry_points = ['f']\ncode = 'assert f()'")
    [case] = cases_of("forgery", entries, PROBLEM)
    assert case.job.tests == AssertTests(code="assert f()", entry_points=("f",))


def test_a_kind_that_there_is_not_is_an_error(write):
    with pytest.raises(BadConfig, match="'entry': there is no kind 'pytest'"):
        cases_of("forgery", write("kinds = ['pytest']"), PROBLEM)


def test_programs_are_bytes_as_the_entry_says(write):
    """Bytes that are no UTF-8, and text too long to write down."""
    [case] = cases_of("abuse", write('encoding = "latin-1"\nrepeated = { text = "\\u00ff", times = 3 }', "abuse"), PROBLEM)
    assert case.job.program == b"pass\xff\xff\xff"


def test_literals_may_be_no_numbers():
    assert math.isnan(literal("[nan]")[0])
    assert literal("{'a': -inf}") == {"a": -math.inf}


@pytest.mark.parametrize("verdict", [verdict for verdict in Verdict if verdict not in FAILURES])
def test_a_forgery_held_only_where_the_program_is_said_to_have_failed(verdict):
    """Neither a pass nor the engine's own failure counts."""
    assert not judge(case(), report(verdict)).held


def test_a_forgery_that_passed_every_test_has_not_held():
    """Whatever the verdict then is called."""
    assert judge(case(), report(Verdict.RUNTIME_ERROR, tests_passed=2, tests_total=3)).held
    assert not judge(case(), report(Verdict.RUNTIME_ERROR, tests_passed=3, tests_total=3)).held


def test_what_an_abuse_prints_may_decide():
    said = case("abuse", expect=(Verdict.FINISHED,), stdout="refused\n")
    assert judge(said, report(Verdict.FINISHED, stdout=b"refused\n")).held
    assert "mounted" in judge(said, report(Verdict.FINISHED, stdout=b"mounted\n")).why


def test_a_refused_job_is_held_only_where_that_is_expected():
    assert judge(case("abuse", expect=("refused",)), None).held
    assert not judge(case("abuse", expect=(Verdict.FINISHED,)), None).held


@pytest.fixture(scope="module")
def engine():
    with LocalEngine(command=FAKE) as engine:
        yield engine


@pytest.fixture
def selftest(capfd, engine):
    """The command against the fake engine: its exit code, stdout and stderr."""

    def selftest(*arguments):
        with pytest.raises(SystemExit) as end:
            main(["selftest", "--address", engine.address, *arguments])
        return (end.value.code or 0, *capfd.readouterr())

    return selftest


def test_what_did_not_hold_is_named_and_fails_the_command(selftest):
    """An engine that passes everything is fooled by every forgery."""
    code, stdout, _ = selftest("--list", "forgery", "--json")
    forgery = json.loads(stdout)["forgery"]
    assert (code, forgery["held"]) == (1, 0)
    assert {failed["entry"] for failed in forgery["failed"]} == set(read_list("forgery"))
    assert forgery["failed"][0]["got"] == "passed"


def test_one_entry_can_be_run_alone(selftest):
    title = "a byte order mark"
    code, stdout, _ = selftest("--only", title, "--json")
    assert (code, json.loads(stdout)) == (0, {"false-alarms": {"entries": 1, "programs": 6, "held": 6, "failed": []}})


def test_the_table_has_a_line_for_each_list_and_for_each_failure(selftest):
    code, stdout, _ = selftest("--only", "raise SystemExit")
    assert code == 1
    assert "forgery" in stdout
    assert "raise SystemExit [stdio]" in stdout


def test_an_entry_that_there_is_not_is_an_error(selftest):
    code, stdout, stderr = selftest("--only", "fork bom")
    assert (code, stdout) == (2, "")
    assert "did you mean 'fork bomb'" in stderr


def test_a_name_that_is_near_to_no_entry_is_told_how_many_there_are(selftest):
    """Not their hundreds of names, in which the error would be lost."""
    code, _, stderr = selftest("--only", "zzzzzz")
    assert code == 2
    assert re.fullmatch(r"error: tests/hostile has no entry 'zzzzzz'; there are \d{3}\n", stderr)
