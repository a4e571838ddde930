"""The commands of `python -m engine`, one file each: options in, words out, the work done elsewhere."""
