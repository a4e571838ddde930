"""Whether what came out of a jail is what was expected: `outputs` compares bytes, `values` plain data."""

from engine.compare.outputs import stdout_difference
from engine.compare.values import value_difference

__all__ = ["stdout_difference", "value_difference"]
