"""Longer measurements than `python -m engine bench`. What lies here is a command; what only serves one lies below."""

import argparse


def command_line(command: str, about: str | None) -> argparse.ArgumentParser:
    """For the options of a command, which says how it is started."""
    return argparse.ArgumentParser(
        prog=f"python -m benchmarks.{command}", description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
