"""Slots: nsjail jails that live long and fork a process per program."""
