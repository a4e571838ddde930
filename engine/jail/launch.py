"""Becomes nsjail: joins the cgroups named in front of "--", then runs the command behind it.

A program of its own, so that the process that becomes the jail is in its cgroups before it does anything, and so that the
engine, which has threads, need not run Python code between fork and exec.
"""

import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """argv: the engine's pid, files to write the own pid to, "--", the command."""
    cut = sys.argv.index("--")
    parent, entrances, command = int(sys.argv[1]), sys.argv[2:cut], sys.argv[cut + 1 :]
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("the engine was gone before its jail began")
    for entrance in entrances:
        Path(entrance).write_text(str(os.getpid()))
    with contextlib.suppress(OSError):  # only root may; cells offer themselves instead
        Path("/proc/self/oom_score_adj").write_text("-1000")
    try:
        os.execv(command[0], command)
    except OSError as error:
        sys.exit(f"cannot run {command[0]}: {error.strerror}")


main()
