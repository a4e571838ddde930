"""What `python -m benchmarks.learning` consists of: the runs, their statistics, the report with its plot."""
