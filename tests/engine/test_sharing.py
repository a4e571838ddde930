"""Memory that stays shared: what exists is immortal, what comes is not, and a fork is a process like any other.

Each test runs in an interpreter of its own, since what freezing does cannot be undone.
"""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

BEGIN = "import gc, os, random, sys, threading, types, weakref\nfrom engine.jail.inside import sharing\n"


def told(program):
    """The lines that a program prints, which begins with the imports above."""
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", BEGIN + textwrap.dedent(program)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout.splitlines()


THINGS = {
    "a list": "thing = [1]",
    "a tuple that the collector does not know": "thing = tuple(['x' * 3, 2.5]); gc.collect()",
    "a text": "thing = ''.join(['made ', 'now'])",
    "bytes": "thing = bytes(100)",
    "a large number": "thing = 10 ** 40 + len(sys.argv)",
    "a float": "thing = len(sys.argv) + 0.125",
    "a class": "class thing: pass",
    "an instance": "class C: pass\nthing = C()",
    "an instance with slots": "class C: __slots__ = ('x',)\nthing = C()",
    "a function": "def thing(): pass",
    "code": "thing = compile('x = 1', 'f', 'exec')",
    "a module": "thing = types.ModuleType('m')",
    "a dict of a class": "class C: x = [1]\nthing = C.x",
    "something in a cycle": "thing = []; thing.append(thing)",
    "something in a closure": "def f():\n    x = object()\n    return lambda: x\nthing = f().__closure__[0].cell_contents",
    "a built-in function": "thing = len",
    "a built-in class": "thing = dict",
    "None": "thing = None",
}


@pytest.mark.parametrize("made", THINGS.values(), ids=THINGS)
def test_what_exists_is_immortal(made):
    """Using it counts no reference, so that its page is not written to."""
    program = "\nsharing.freeze()\nbefore = sys.getrefcount(thing)\nmany = [thing] * 1000\nprint(sys.getrefcount(thing) - before)"
    assert told(made + program) == ["0"]


@pytest.mark.parametrize(
    "part",
    [
        "f.__code__.co_consts[1]",
        "f.__code__.co_consts[1].co_consts[1]",
        "f.__code__.co_names",
        "f.__code__.co_cellvars",
        "f.__code__.co_consts[1].co_freevars",
        "f.__code__.co_filename",
    ],
)
def test_what_code_holds_is_immortal(part):
    """Running it counts references to its constants and names, which the collector is not told of."""
    program = f"""
        exec(compile("def f(a):\\n    def g():\\n        return a, 12.34\\n    return len, g", "a file", "exec"))
        sharing.freeze()
        thing = {part}
        before = sys.getrefcount(thing)
        many = [thing] * 1000
        print(sys.getrefcount(thing) - before)
    """
    assert told(program) == ["0"]


def test_garbage_is_not_kept():
    """What is in a cycle that nobody holds ends before the rest is frozen."""
    program = """
        class Thing: pass
        gc.disable()
        thing = Thing()
        thing.itself = thing
        ended = weakref.ref(thing)
        del thing
        sharing.freeze()
        print(ended() is None)
    """
    assert told(program) == ["True"]


def test_without_freezing_references_are_counted():
    """What the other tests look at does move."""
    assert told(
        "thing = [1]\nbefore = sys.getrefcount(thing)\nmany = [thing] * 1000\nprint(sys.getrefcount(thing) - before)"
    ) == ["1000"]


def test_what_exists_stays():
    """Taking away every name of it ends nothing: its end would be written into shared pages too."""
    program = """
        class Thing:
            def __del__(self): print("gone")
        thing = Thing()
        sharing.freeze()
        del thing
        gc.collect()
        print("end", flush=True)
        os._exit(0)
    """
    assert told(program) == ["end"]


def test_new_objects_are_counted_and_collected():
    """Those without cycles at once, those with cycles once the collector is on again."""
    program = """
        class Thing: pass
        sharing.freeze()
        thing = Thing()
        ended = weakref.ref(thing)
        del thing
        print(ended() is None)
        thing = Thing()
        thing.itself = thing
        ended = weakref.ref(thing)
        del thing
        print(ended() is None)
        gc.enable()
        gc.collect()
        print(ended() is None)
    """
    assert told(program) == ["True", "False", "True"]


def test_the_collector_is_off_and_has_nothing_to_look_at():
    """Looking through what is frozen would write to all of it."""
    program = """
        kept = [[] for _ in range(1000)]
        sharing.freeze()
        print(gc.isenabled(), len(gc.get_objects()) < 100, gc.get_freeze_count() > 1000)
    """
    assert told(program) == ["False True True"]


def test_frozen_objects_work_as_before():
    """Lists grow, dicts change, classes get instances, modules are imported, and generators go on."""
    program = """
        numbers, names = [1], {"a": 1}
        def count():
            yield 1
            yield 2
        counting = count()
        next(counting)
        class Thing:
            def __init__(self, x): self.x = x
        sharing.freeze()
        numbers.extend(range(100)); names.update(b=2); del names["a"]; numbers.sort(reverse=True)
        Thing.y = 3
        import fractions, colorsys
        print(len(numbers), names, next(counting), Thing(2).x + Thing(2).y, fractions.Fraction(1, 2))
        for _ in range(3): gc.collect()
        exec(compile("def f(n): return n and f(n - 1) + 1\\nprint(f(200))", "x", "exec"))
    """
    assert told(program) == ["101 {'b': 2} 2 5 1/2", "200"]


def test_freezing_twice_is_freezing():
    """What came in between is immortal as well."""
    program = """
        sharing.freeze()
        thing = [1]
        sharing.freeze()
        before = sys.getrefcount(thing)
        many = [thing] * 1000
        print(sys.getrefcount(thing) - before)
    """
    assert told(program) == ["0"]


# Forks


CHILD = """
def child(work):
    sys.stdout.flush()
    pid = sharing.fork()
    if pid == 0:
        try:
            work()
            sys.stdout.flush()
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    assert status == 0, status
    return pid
"""


def told_by_forks(program, *, frozen=True):
    """As above, with `child(work)`, which forks, works and waits."""
    return told(CHILD + ("sharing.freeze()\n" if frozen else "") + textwrap.dedent(program))


def test_a_fork_returns_twice():
    """Once with the child's pid, and once with 0."""
    program = """
        parent = os.getpid()
        pid = child(lambda: print(os.getppid() == parent, os.getpid() != parent, os.getpid()))
        print(pid)
    """
    first, pid = told_by_forks(program)
    assert first == f"True True {pid}"


def test_forks_have_random_numbers_of_their_own():
    """Neither those of the parent, nor those of each other."""
    program = """
        random.seed(1)
        for _ in range(3):
            child(lambda: print(random.random()))
        print(random.random())
    """
    numbers = told_by_forks(program)
    assert len(set(numbers)) == 4


def test_the_parents_random_numbers_go_on():
    """Forking takes nothing from them."""
    program = """
        random.seed(1)
        child(lambda: random.random())
        print(random.random() == random.Random(1).random())
    """
    assert told_by_forks(program) == ["True"]


def test_a_fork_can_start_threads():
    """Its main thread knows itself, and waits for the others."""
    program = """
        def work():
            found = []
            threads = [threading.Thread(target=found.append, args=(n,)) for n in range(5)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
            print(sorted(found), threading.active_count())
            print(threading.current_thread() is threading.main_thread())
        child(work)
    """
    assert told_by_forks(program) == ["[0, 1, 2, 3, 4] 1", "True"]


def test_a_fork_can_fork_again():
    """By any of the means that a program has."""
    program = """
        import multiprocessing, subprocess
        def work():
            child(lambda: print("by ours"))
            pid = os.fork()
            if pid == 0:
                print("by os.fork", flush=True)
                os._exit(0)
            os.waitpid(pid, 0)
            subprocess.run(["echo", "by subprocess"])
            context = multiprocessing.get_context("fork")
            process = context.Process(target=os.write, args=(1, b"by multiprocessing\\n"))
            process.start()
            process.join()
        child(work)
    """
    assert told_by_forks(program) == ["by ours", "by os.fork", "by subprocess", "by multiprocessing"]


def test_a_fork_takes_signals():
    """Its main thread is where they arrive."""
    program = """
        import signal
        def work():
            signal.signal(signal.SIGUSR1, lambda *_: print("heard"))
            os.kill(os.getpid(), signal.SIGUSR1)
            print("done")
        child(work)
    """
    assert told_by_forks(program) == ["heard", "done"]


def test_a_fork_collects_what_it_makes():
    """Also after thousands of new cycles, and without touching what is frozen."""
    program = """
        kept = {n: [n] for n in range(1000)}
        class Thing: pass
        sharing.freeze()
        def work():
            gc.enable()
            ended = []
            for _ in range(3000):
                thing = Thing()
                thing.itself = [thing]
                ended.append(weakref.ref(thing))
            del thing
            gc.collect()
            print(sum(ref() is not None for ref in ended), len(kept), sum(map(len, kept.values())))
        child(work)
    """
    assert told_by_forks(program, frozen=False) == ["0 1000 1000"]


def test_many_forks_leave_the_parent_as_it_was():
    """One after the other, as a slot has them; what a child changes stays the child's."""
    program = """
        state = {"n": 0}
        def work():
            state["n"] += 1
            state[state["n"]] = [state]
        for _ in range(100):
            child(work)
        print(state, threading.active_count())
    """
    assert told_by_forks(program) == ["{'n': 0} 1"]


def test_a_fork_that_is_refused_raises():
    """With the system's own reason, as for a user who may have no more processes."""
    program = """
        import resource
        if os.geteuid() == 0:
            os.setuid(65534)
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
        try:
            sharing.fork()
        except BlockingIOError as error:
            print(error)
    """
    assert told(program) == ["[Errno 11] fork: Resource temporarily unavailable"]
