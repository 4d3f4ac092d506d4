"""What one needs to judge a figure: when, where, by which command and from which source it came."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from shared.report_page.stamp import UNKNOWN, Stamp


def stamp(command: str) -> Stamp:
    """Return the stamp of what this process measures now."""
    return Stamp(
        date=datetime.now(UTC).date().isoformat(),
        machine=machine(),
        command=command,
        commit=git_revision() or UNKNOWN,
    )


@cache
def git_revision(digits: int = 40) -> str | None:
    """Return the commit of this source tree, with -dirty if files differ; None outside git.

    Asked once a process: the results it writes itself make no other code of it.
    """
    command = ["git", "describe", "--always", "--dirty", f"--abbrev={digits}", "--exclude=*"]
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


def machine() -> str:
    """Return processor, cores that this process may use, memory and Python version."""
    gibibytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        f"{_processor()}, {cores} cores, {gibibytes:.0f} GiB, Python {platform.python_version()}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux: the architecture must do
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
