"""What one fork into fresh namespaces costs: a warm interpreter, a trivial program, one at a time.

A program of its own for the same reasons as bare_fork.py, with the compiler warm. argv: how many, the modules to import,
joined by commas. Prints {"ms": [...]}, the wall time of each from before the fork until the child is gone; or
{"unavailable": why} where the host does not let it make namespaces.
"""

import gc
import importlib
import json
import os
import sys
import time

_SOURCE = "print('hello')\n"


def main() -> None:
    """Fork so many times, one after the other."""
    count, preload = int(sys.argv[1]), sys.argv[2].split(",")
    for name in preload:
        importlib.import_module(name)
    compile("0", "warm", "exec")
    quiet, own_pids = os.open(os.devnull, os.O_RDWR), os.open("/proc/self/ns/pid", os.O_RDONLY)
    gc.collect()
    gc.freeze()
    try:
        if os.geteuid():
            os.unshare(os.CLONE_NEWUSER)
        times = [_one(quiet, own_pids) for _ in range(count)]
    except OSError as error:
        sys.stdout.write(json.dumps({"unavailable": str(error)}))
    else:
        sys.stdout.write(json.dumps({"ms": times}))


def _one(quiet: int, own_pids: int) -> float:
    """Raises OSError where namespaces cannot be made."""
    started = time.perf_counter()
    os.setns(own_pids, os.CLONE_NEWPID)  # back, or the namespaces would nest
    os.unshare(os.CLONE_NEWPID)
    pid = os.fork()
    if not pid:
        try:
            os.unshare(os.CLONE_NEWNS | os.CLONE_NEWIPC)
            os.dup2(quiet, 1)
            code = compile(_SOURCE, "solution.py", "exec", dont_inherit=True)
            exec(code, {"__name__": "solution"})  # noqa: S102  # what it measures
            sys.stdout.flush()
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    if status:
        raise OSError("a child could not make its mount and ipc namespaces")
    return (time.perf_counter() - started) * 1000


if __name__ == "__main__":
    main()
