"""All three lists in the real jail. Each case is a test of its own, so that what did not hold fails by its name.

The programs of a list run when its first case asks for a finding, side by side where the list allows it.
"""

from functools import cache
from pathlib import Path

import pytest

from engine.client import Client, Job, LocalEngine
from engine.selftest.cases import cases_of
from engine.selftest.lists import NAMES, AssertData, Entry, read_list, read_problem
from engine.selftest.running import run_abuse, run_cases

HERE = Path(__file__).parent
ENTRIES = {name: read_list(name, HERE) for name in NAMES}
PROBLEM = read_problem(HERE)
CASES = {name: cases_of(name, entries, PROBLEM) for name, entries in ENTRIES.items()}
FOOLED = [(title, harness) for title, entry in ENTRIES["forgery"].items() for harness in entry.fools]

pytestmark = [pytest.mark.jail, pytest.mark.timeout(300)]


def naive_job(program, harness, **job):
    files = {"cheat.py": program.encode()}
    return Job(program=(HERE / "naive.py").read_bytes(), files=files, stdin=harness.encode(), **job)


@pytest.fixture(scope="module")
def client():
    with LocalEngine() as engine, Client(engine.address) as client:
        yield client


@pytest.fixture(scope="module")
def findings(client):
    """The findings of a list by the name of the case."""

    @cache
    def of(name):
        run = run_abuse if name == "abuse" else run_cases
        return {finding.case.name: finding for finding in run(client, CASES[name])}

    return of


@pytest.fixture(scope="module")
def naive_verdicts(client):
    """What the naive harnesses say of the forgeries, by entry and harness."""

    jobs = [naive_job(ENTRIES["forgery"][title].program, harness, id=f"{title}/{harness}") for title, harness in FOOLED]
    reports = client.execute_stream(jobs)
    return {report.id: report.stdout.decode() + report.error for report in reports}


@pytest.mark.parametrize("name", [case.name for case in CASES["forgery"]])
def test_a_forgery_never_passes(findings, name):
    assert findings("forgery")[name].why == ""


@pytest.mark.parametrize("name", [case.name for case in CASES["abuse"]])
def test_abuse_is_contained(findings, name):
    """Its verdict is the expected one, and the program behind it finds everything as usual."""
    assert findings("abuse")[name].why == ""


@pytest.mark.parametrize("name", [case.name for case in CASES["false-alarms"]])
def test_a_correct_program_passes(findings, name):
    assert findings("false-alarms")[name].why == ""


@pytest.mark.parametrize(("title", "harness"), FOOLED)
def test_a_forgery_fools_a_naive_harness(naive_verdicts, title, harness):
    """It is a real cheat: the harness that it names takes it for right."""
    assert naive_verdicts[f"{title}/{harness}"] == "fooled\n"


@pytest.mark.parametrize("harness", sorted({harness for _, harness in FOOLED}))
def test_naive_harnesses_know_right_from_wrong(client, harness):
    """Where nobody cheats; else fooling them would mean nothing."""
    for program, verdict in ((PROBLEM.honest, "fooled"), ("def squares(numbers): return 0", "not fooled")):
        report = client.execute(naive_job(program, harness, id="naive"))
        assert (report.stdout.decode().strip(), report.error) == (verdict, "")


HONEST = {f"the common problem [{kind}]": Entry(threat="", program=PROBLEM.honest, kinds=(kind,)) for kind in PROBLEM.kinds} | {
    title: Entry(threat="", program=entry.honest or "", tests=entry.tests)
    for title, entry in ENTRIES["forgery"].items()
    if isinstance(entry.tests, AssertData)
}


@pytest.mark.parametrize("title", HONEST)
def test_the_honest_program_passes(client, title):
    """The tests that forgeries fail can be passed: without this, forgeries might fail for the wrong reason."""
    [finding] = run_cases(client, cases_of("false-alarms", {title: HONEST[title]}, PROBLEM))
    assert finding.why == ""
