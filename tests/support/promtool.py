"""Debian's promtool, which knows what Prometheus accepts; tests that need it are skipped without it."""

from __future__ import annotations

import shutil
import subprocess

import pytest

_PROMTOOL = shutil.which("promtool")

needs_promtool = pytest.mark.skipif(
    _PROMTOOL is None, reason="promtool is not on the PATH: apt-get install prometheus"
)


def promtool(*arguments: str) -> str:
    """Run it and return what it says; it must agree."""
    command = [_PROMTOOL or "promtool", *arguments]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    said = finished.stdout + finished.stderr
    assert finished.returncode == 0, said
    return said
