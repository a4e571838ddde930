"""Harnesses as they are published, in the small: what forgeries are made to fool. Runs in the jail, as a program of its own.

Reads the name of a harness and finds cheat.py beside it; runs the cheat with tests for it in a child, as that harness would, and
prints whether the harness takes the cheat for right. That an entry fools the harness it names shows that it does what it says.
"""

import contextlib
import io
import json
import operator
import os
import signal
import sys
import traceback
import unittest

TESTS = """
def check(candidate):
    assert candidate([123, 45]) == 17154
    assert candidate([7]) == 49
    assert abs(candidate([1, 2]) - 5) < 1e-6
"""
CALLS = [([123, 45], 17154), ([7], 49), ([1, 2], 5)]
_MARK = "ALL TESTS PASSED"
_ENDLESS_S = 3


def human_eval(program):
    """Runs all in one namespace; the result is a list that the last line appends to."""
    result = []
    try:
        exec(program + TESTS + "\ncheck(squares)\n", {})
        result.append("passed")
    except BaseException as error:
        result.append(f"failed: {error}")
    print(json.dumps(result[0]), file=open("result.json", "w"), flush=True)


def exit_code(program):
    """Runs all as one script; its exit code is the result."""
    namespace = sys.modules["__main__"].__dict__
    try:
        exec(program + TESTS + "\ncheck(squares)\n", namespace)
    except Exception as error:
        sys.excepthook(type(error), error, error.__traceback__)
        error.__traceback__ = None
        os._exit(_left(1))
    except SystemExit as leaving:
        os._exit(_left(leaving.code or 0))
    os._exit(_left(0))


def _namespace(program):
    namespace = {"__name__": "solution"}
    exec(program, namespace)
    return namespace


def _left(code):
    import atexit

    atexit._run_exitfuncs()
    sys.stdout.flush()
    return code


def no_failure(program):
    """Notes failures; what left none has passed."""
    try:
        exec(program + TESTS + "\ncheck(squares)\n", {"__name__": "__main__"})
    except Exception:
        with open("failures", "w") as file:
            file.write(traceback.format_exc())


def marker(program):
    """Prints a mark behind the tests; a stdout that holds it has passed."""
    exec(program + TESTS + f"\ncheck(squares)\nprint({_MARK!r})\n", {"__name__": "__main__"})


def compared(program):
    """Compares results with expected values where the program runs, and writes down how many were right."""
    expected_values = [expected for _, expected in CALLS]
    squares = _namespace(program)["squares"]
    right = 0
    for (argument, expected), again in zip(CALLS, expected_values, strict=True):
        result = squares(argument)
        if operator.eq(result, expected) and not operator.ne(result, again):
            right += 1
    with open("result.json", "w") as file:
        file.write(json.dumps({"passed": right == len(CALLS)}))


def close(program):
    """As `compared`, with a tolerance."""
    squares = _namespace(program)["squares"]
    right = all(abs(squares(argument) - expected) < 1e-6 for argument, expected in CALLS)
    with open("result.json", "w") as file:
        file.write(json.dumps({"passed": bool(right)}))


def allclose(program):
    """As `close`, for arrays."""
    import numpy

    squares = _namespace(program)["squares"]
    right = [numpy.allclose(squares(argument), expected) for argument, expected in CALLS]
    with open("result.json", "w") as file:
        file.write(json.dumps({"passed": all(right)}))


def unit_test(program):
    """Runs unittest methods and asks unittest whether all went well."""
    squares = _namespace(program)["squares"]

    class TestSquares(unittest.TestCase):
        def test_calls(self):
            for argument, expected in CALLS:
                self.assertEqual(squares(argument), expected)

    tests = unittest.defaultTestLoader.loadTestsFromTestCase(TestSquares)
    outcome = unittest.TextTestRunner(stream=io.StringIO()).run(tests)
    with open("result.json", "w") as file:
        file.write(json.dumps({"passed": outcome.wasSuccessful()}))


def files(program):
    """Lays the tests beside the program, and compares what it prints with a file."""
    with open("expected.json", "w") as file:
        json.dump(CALLS, file)
    squares = _namespace(program)["squares"]
    with open("expected.json") as file:
        calls = json.load(file)
    right = [squares(argument) == expected for argument, expected in calls]
    with open("result.json", "w") as file:
        file.write(json.dumps({"passed": all(right)}))


def _passed(name, status):
    if name == "exit code":
        return status == 0
    if name == "no failure":
        return not os.path.exists("failures")
    if name == "marker":
        return _MARK in open("output").read()
    with contextlib.suppress(OSError, ValueError):
        found = json.load(open("result.json"))
        return found == "passed" or (isinstance(found, dict) and found.get("passed") is True)
    return False


HARNESSES = {
    "human-eval": human_eval,
    "exit code": exit_code,
    "no failure": no_failure,
    "marker": marker,
    "compared": compared,
    "close": close,
    "allclose": allclose,
    "unittest": unit_test,
    "files": files,
}


def main():
    name = input()
    with open("cheat.py") as file:
        program = file.read()
    child = os.fork()
    if child == 0:
        with open("output", "w") as output:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
        signal.signal(signal.SIGALRM, lambda *args: os._exit(9))
        signal.alarm(_ENDLESS_S)
        HARNESSES[name](program)
        sys.stdout.flush()
        os._exit(0)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, status = os.waitpid(child, 0)
    print("fooled" if _passed(name, os.waitstatus_to_exitcode(status)) else "not fooled")


main()
