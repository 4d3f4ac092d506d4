"""What one needs to judge a figure: when, where, by which command and from which source it came."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from shared.contracts.base import Contract

UNKNOWN = "not recorded"


class Stamp(Contract):
    """Date, machine, command and commit of figures."""

    date: str = UNKNOWN
    machine: str = UNKNOWN
    command: str = UNKNOWN
    commit: str = UNKNOWN


def stamp(command: str) -> Stamp:
    """Return the stamp of what this process measures now."""
    return Stamp(
        date=datetime.now(UTC).date().isoformat(),
        machine=_machine(),
        command=command,
        commit=git_revision() or UNKNOWN,
    )


def git_revision() -> str | None:
    """Return the commit of this source tree, with -dirty if files differ; None outside git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        described = subprocess.run(  # noqa: S603  (a fixed command)
            command,
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip()


def _machine() -> str:
    processor = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux: the architecture must do
        lines = []
    for line in lines:
        if line.startswith("model name"):
            processor = line.partition(":")[2].strip()
            break
    return f"{processor}, {os.cpu_count()} cores, Python {platform.python_version()}"
