"""Longer measurements than `python -m engine bench`, each a command of its own."""
