"""Samplers: requests go in, candidates come out as they finish. One protocol, one file for each way of doing it."""
