"""Problems and samples from the files that people already have.

`problem` is the record, `lines` the kinds of lines in problems files, `reading` the files themselves.
"""

from engine.problems.problem import Problem
from engine.problems.reading import Sample, gold_samples, read_problems, read_samples

__all__ = ["Problem", "Sample", "gold_samples", "read_problems", "read_samples"]
