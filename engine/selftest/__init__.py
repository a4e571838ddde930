"""The self-test: three lists of hostile and of odd but honest programs, and what becomes of them in a running engine.

    tests/hostile/*.toml --lists.py--> entries --cases.py--> jobs with expectations --running.py--> findings

The lists are data, and part of the package, so that whoever deploys an engine can run them against it.
"""
