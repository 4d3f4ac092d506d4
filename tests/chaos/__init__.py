"""Kills what it started, and counts what was lost: `python -m tests.chaos --json`, `pytest -m chaos`."""
