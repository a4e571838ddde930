"""The wire contract between the engine and whoever calls it."""
