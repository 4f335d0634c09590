"""Tests that see the whole project: guards and end-to-end paths."""
