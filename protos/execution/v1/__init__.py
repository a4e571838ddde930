"""Version 1 of the execution service."""
