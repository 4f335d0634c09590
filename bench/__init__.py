"""Measurements of docs/: each runnable by one command, each a ratio against a reference of the same run."""
