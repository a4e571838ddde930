"""Tests that are `unittest` cases. Apart from the examiner, since few tests are and the library is large."""

import sys
import unittest
from typing import Any

from .examiner import Findings


def run_unittests(names: dict[str, Any], findings: Findings) -> None:
    """Run the unittest classes that the test code defines, one finding per method."""
    for case in [item for item in names.values() if issubclass(type(item), type)]:  # isinstance() would count as a use
        if issubclass(case, unittest.TestCase) and case.__module__ == "tests":
            unittest.defaultTestLoader.loadTestsFromTestCase(case).run(_Result(findings))


class _Result(unittest.TestResult):
    """Passes unittest's results on to the findings."""

    def __init__(self, findings: Findings) -> None:
        super().__init__()
        self._findings = findings

    def addSuccess(self, test: unittest.TestCase) -> None:
        self._findings.ok()

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:
        try:
            raise err[1]
        except BaseException:
            self._findings.fail()

    addError = addFailure

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        error = sys.exception()
        if error is not None and "_trace" in error.__dict__:  # the program's, whatever the tests gave it to raise
            self.addFailure(test, (type(error), error, None))

    def addExpectedFailure(self, test: unittest.TestCase, err: Any) -> None:
        self._findings.ok()

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:
        error = AssertionError(f"{test} was expected to fail")
        self.addFailure(test, (type(error), error, None))

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:
        if err is not None:
            self.addFailure(subtest, err)
