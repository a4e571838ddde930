"""Programs that solve nothing and try to pass. None may, whatever the kind of its tests."""

import pytest

from engine.records import FunctionTest, FunctionTests, StdioTest, StdioTests, Verdict
from tests.jail.conftest import examined

pytestmark = pytest.mark.jail

PROMPT = "from typing import List\n\ndef largest(numbers: List[int]) -> int:\n    '''The largest number.'''\n"
CHECK = (
    "def check(candidate):\n    assert candidate([1, 2, 31337]) == 31337\n    assert candidate([4]) == 4\n"
    "    assert abs(candidate([0, 7]) - 7) < 1e-6\n    assert candidate([3, 9, 2]) in (9,)\n"
)
ASSERTS = examined(CHECK, "largest", prompt=PROMPT, check="check")
CALLS = examined("assert largest([1, 2, 31337]) == 31337\nassert largest([4]) == 4\n", "largest", prompt=PROMPT)
FUNCTIONS = FunctionTests(
    entry_point="largest", tests=(FunctionTest(args=([1, 2, 31337],), expected=31337), FunctionTest(args=([4],), expected=4))
)
STDIO = StdioTests(
    tests=(StdioTest(stdin=b"1 2 31337\n", expected_stdout=b"31337\n"), StdioTest(stdin=b"4\n", expected_stdout=b"4\n"))
)

EVERY_OPERATOR = "\n".join(
    f"    def __{name}__(self, *args): return {value}"
    for name, value in {
        **dict.fromkeys(("eq", "ne", "lt", "le", "gt", "ge", "bool", "contains"), "True"),
        **dict.fromkeys(("sub", "rsub", "add", "radd", "abs", "round", "int", "index", "hash", "len"), "0"),
        "float": "0.0",
    }.items()
)

CHEATS = {
    "leaves with 0 at once": "import os; os._exit(0)",
    "leaves with 0 when called": "import os\ndef largest(numbers): os._exit(0)",
    "leaves politely": "import sys\ndef largest(numbers): sys.exit(0)",
    "leaves by SystemExit at once": "raise SystemExit(0)",
    "leaves in atexit": "import atexit, os\natexit.register(os._exit, 0)\ndef largest(numbers): raise SystemExit",
    "kills itself": "import os\ndef largest(numbers): os.kill(os.getpid(), 9)",
    "crashes": "import ctypes\ndef largest(numbers): ctypes.string_at(0)",
    "kills everybody": "import os\ndef largest(numbers): os.kill(-1, 9)",
    "returns what equals everything": f"class Any:\n{EVERY_OPERATOR}\ndef largest(numbers): return Any()",
    "returns an int that equals everything": f"class Any(int):\n{EVERY_OPERATOR}\ndef largest(numbers): return Any(5)",
    "returns a str that equals everything": f"class Any(str):\n{EVERY_OPERATOR}\ndef largest(numbers): return Any('5')",
    "returns a list that equals everything": f"class Any(list):\n{EVERY_OPERATOR}\ndef largest(numbers): return Any()",
    "returns a float that equals everything": f"class Any(float):\n{EVERY_OPERATOR}\ndef largest(numbers): return Any()",
    "lies about its class": f"class Any:\n    __class__ = int\n{EVERY_OPERATOR}\ndef largest(numbers): return Any()",
    "is a class that equals everything": f"class Meta(type):\n{EVERY_OPERATOR}\nclass largest(metaclass=Meta):\n"
    f"    def __init__(self, numbers): pass\n{EVERY_OPERATOR}",
    "hunts frames": (
        "import sys\ndef largest(numbers):\n    frame = sys._getframe()\n    while frame:\n"
        "        for value in [*frame.f_locals.values(), *frame.f_globals.values(), *frame.f_code.co_consts]:\n"
        "            if value == 31337: return value\n        frame = frame.f_back"
    ),
    "hunts gc": (
        "import gc\ndef largest(numbers):\n    for item in gc.get_objects():\n"
        "        if isinstance(item, (list, tuple, dict)) and item is not numbers and len(item) < 1000:\n"
        "            for value in (item.values() if isinstance(item, dict) else item):\n"
        "                if type(value) is int and value == 31337 and numbers[-1] != value: return value\n"
    ),
    "hunts code in gc": (
        "import gc, types\ndef largest(numbers):\n    for f in gc.get_objects():\n        if isinstance(f, types.FunctionType) "
        "and f.__name__ == 'check': return f.__code__.co_consts[1]"
    ),
    "hunts its memory": (
        "import re\ndef largest(numbers):\n    for line in open('/proc/self/maps'):\n"
        "        m = re.match(r'(\\w+)-(\\w+) rw', line)\n        if m:\n            with open('/proc/self/mem', 'rb') as f:\n"
        "                f.seek(int(m[1], 16)); data = f.read(min(int(m[2], 16) - int(m[1], 16), 1 << 22))\n"
        "                found = re.search(rb'candidate\\(\\[1, 2, 31337\\]\\) == (\\d+)', data)\n"
        "                if found: return int(found[1])\n"
    ),
    "looks for files": (
        "import glob\ndef largest(numbers):\n    for name in glob.glob('/**/*test*', recursive=True)[:100]:\n"
        "        try:\n            if 'candidate([1, 2, 31337])' in open(name).read(): return 31337\n        except Exception: pass\n"
    ),
    "patches what tests use": (
        "import builtins, operator, math, unittest, json\nbuiltins.abs = lambda x: 0\nbuiltins.AssertionError = Exception\n"
        "operator.eq = lambda a, b: True\njson.dumps = lambda *a, **k: '{\"ok\": 31337}'\ndef largest(numbers): return 0\n"
    ),
    "redefines check": "def check(candidate): return True\ndef candidate(x): return 31337\ndef largest(numbers): return 0",
    "raises what looks like the harness's": "class Gone(BaseException): pass\ndef largest(numbers): raise Gone('done')",
    "raises an assertion": "def largest(numbers): raise AssertionError('all tests passed')",
    "prints a verdict": "print('PASSED\\n{\"state\": \"done\", \"failures\": []}')\ndef largest(numbers): return 0",
    "writes to every descriptor": (
        'import os\nfor fd in range(64):\n    try: os.write(fd, b\'{"state": "done", "failures": []}\\n{"index": 0, "ok": 0, "rows": []}\\n\')\n'
        "    except OSError: pass\ndef largest(numbers): return 0"
    ),
    "answers before it is asked": (
        "import os, json, struct\nfor fd in range(3, 64):\n    for _ in range(8):\n"
        "        data = json.dumps({'ok': True, 'rows': []}).encode()\n"
        "        try: os.write(fd, struct.pack('!I', len(data)) + data)\n        except OSError: pass\ndef largest(numbers): return 0"
    ),
    "never ends a message": (
        "import os, struct\nfor fd in range(3, 64):\n    try: os.write(fd, struct.pack('!I', 1 << 27))\n    except OSError: pass\n"
        "def largest(numbers): return 0"
    ),
    "closes every descriptor": "import os\nos.closerange(0, 64)\ndef largest(numbers): return 0",
    "a generator": "def largest(numbers): yield 31337",
    "changes its argument": "def largest(numbers): numbers[:] = []; return numbers",
    "forks and lets the child answer": "import os\ndef largest(numbers):\n    if os.fork() == 0: return 31337\n    os._exit(0)",
    "asks the examiner for its globals": (
        "import sys\ndef largest(numbers):\n    f = sys._getframe()\n    while f:\n        side = f.f_locals.get('self')\n"
        "        if hasattr(side, 'request'):\n            for op, args in (('evaluate', ['31337']), ('getattr', [numbers, '__class__'])):\n"
        "                try: side.request(op, *args)\n                except Exception: pass\n        f = f.f_back\n    return 0"
    ),
}  # fmt: skip
SCRIPT = "\ntry:\n    print(largest(list(map(int, input().split())))) if 'largest' in globals() else None\nexcept EOFError:\n    pass\n"


@pytest.mark.parametrize("name", CHEATS)
@pytest.mark.parametrize("tests", [ASSERTS, CALLS, FUNCTIONS, STDIO], ids=["asserts", "calls", "functions", "stdio"])
def test_a_cheat_never_passes(jails, name, tests):
    """Whatever else becomes of it, the verdict is a failure of the program."""
    program = CHEATS[name] + (SCRIPT if tests is STDIO else "")
    report = jails.run(program, tests=tests)
    assert report.verdict not in (Verdict.PASSED, Verdict.FINISHED, Verdict.INFRASTRUCTURE_ERROR), report
    assert report.tests_passed < report.tests_total


def test_the_honest_program_passes(jails):
    """The tests that the cheats fail are right: without this, the list above could hold for the wrong reason."""
    honest = "def largest(numbers): return max(numbers)"
    for tests in (ASSERTS, CALLS, FUNCTIONS):
        assert jails.run(honest, tests=tests).verdict is Verdict.PASSED
    assert jails.run(honest + SCRIPT, tests=STDIO).verdict is Verdict.PASSED


def test_expected_values_never_reach_the_program(jails):
    """The program prints all it can find of its memory; what is expected is not in it."""
    secret = "a-value-that-only-the-tests-know"
    program = (
        "import re, sys\ndef f(x):\n    pieces = []\n    for line in open('/proc/self/maps'):\n        m = re.match(r'(\\w+)-(\\w+) r', line)\n"
        "        if m and 'vvar' not in line and 'vsyscall' not in line:\n            with open('/proc/self/mem', 'rb') as f:\n"
        "                f.seek(int(m[1], 16))\n                try: data = f.read(int(m[2], 16) - int(m[1], 16))\n"
        "                except OSError: continue\n                pieces += re.findall(rb'a-value-' + rb'that-only[-a-z]+', data)\n"
        "    print(pieces)\n    return x\n"
    )
    tests = examined(f"for _ in range(3):\n    assert f(1) != {secret!r}\nassert f(2) == {secret!r}", "f")
    for _ in range(4):  # each slot has run these tests before when it is asked again
        report = jails.run(program, tests=tests)
        assert report.verdict is Verdict.WRONG_ANSWER, report
        assert b"that-only" not in report.stdout
        assert report.stdout.startswith(b"[]")


REPORT = (
    "import os\n"
    "fds = [fd for fd in range(3, 64) if os.path.lexists(f'/proc/self/fd/{fd}')]\n"
    "[report] = [fd for fd in fds if 'report' in os.readlink(f'/proc/self/fd/{fd}')]\n"
)
"""Where a program finds the descriptor that its results are written to."""
EVASIONS = {
    "an exception that no JSON holds": "def largest(numbers): raise OSError(b'x', 'y')",
    "an exception of an endless name": "def largest(numbers): raise type('E' * 10_000_000, (Exception,), {})('x' * 10_000_000)",
    "a result line that is no JSON": REPORT + "os.write(report, b'{\"index\": 0, x}\\n')\ndef largest(numbers): return 0",
    "fills memory where only the zygote could be killed": (
        "import os\ntry: open('/proc/self/oom_score_adj', 'w').write('0')\nexcept OSError: pass\n"
        "while True: open(str(os.urandom(8).hex()), 'wb').write(bytes(1 << 22))"
    ),
    "fills the shared files": (
        REPORT
        + "for fd in (0, 1, 2, report):\n    try:\n        while True: os.write(fd, bytes(1 << 22))\n    except OSError: pass\n"
        "def largest(numbers): return 0"
    ),
}


@pytest.mark.parametrize("name", EVASIONS)
@pytest.mark.parametrize("tests", [ASSERTS, CALLS, FUNCTIONS, STDIO], ids=["asserts", "calls", "functions", "stdio"])
def test_no_program_makes_its_failure_the_engines(jails, name, tests):
    """A failure that counts as infrastructure would not count at all."""
    report = jails.run(EVASIONS[name] + (SCRIPT if tests is STDIO else ""), tests=tests)
    assert report.verdict not in (Verdict.PASSED, Verdict.FINISHED, Verdict.INFRASTRUCTURE_ERROR), report
    assert jails.run("print('well')").stdout == b"well\n"


def test_a_value_cannot_bring_methods_of_its_own(jails):
    """An instance of a trusted class crosses with its fields; its methods are those of the prompt."""
    prompt = "class P:\n    def __init__(self, x): self.x = x\n    def same(self, x): return self.x == x\n"
    cheat = prompt + "def f(x):\n    p = P(0)\n    p.same = lambda x: True\n    return p\n"
    honest = prompt + "def f(x): return P(31337)\n"
    tests = examined("assert f(1).same(31337)", "f", prompt=prompt)
    assert jails.run(cheat, tests=tests).verdict is Verdict.RUNTIME_ERROR
    assert jails.run(honest, tests=tests).verdict is Verdict.PASSED


def test_a_program_cannot_ask_for_a_second_run(jails):
    """What cannot be judged as data is run again beside an examiner, but only where the first run made all its calls."""
    answers = "def largest(numbers): return max(numbers)"
    program = REPORT + f"if len(fds) == 1:\n    os.write(report, b'\"opaque\"\\n')\n    os._exit(0)\n{answers}"
    assert jails.run(answers, tests=CALLS).verdict is Verdict.PASSED
    report = jails.run(program, tests=CALLS)
    assert report.verdict is Verdict.RUNTIME_ERROR, report


def test_both_runs_of_a_program_are_billed(jails):
    """An object that is no data takes an examiner and a second run."""
    burn = "import time\nend = time.process_time() + 0.1\nwhile time.process_time() < end: pass\n"
    program = burn + "class Largest:\n    def __eq__(self, other): return other == 31337\ndef largest(numbers): return Largest()"
    report = jails.run(program, tests=CALLS)
    assert report.cpu_time_ms > 180, report
