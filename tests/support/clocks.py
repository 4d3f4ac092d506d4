"""Clocks that jump while what reads them runs: of our processes, and of a Redis server by Debian's libfaketime."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from tests.support.jumping_clock.sitecustomize import VARIABLE

DAY = 86_400
_ROOT = Path(__file__).parents[2]
_LIBRARY = "*/faketime/libfaketimeMT.so.1"


def of_processes(file: Path) -> Mapping[str, str]:
    """Return the environment of Python processes whose wall clock is off by the seconds in a file."""
    folder = Path(__file__).parent / "jumping_clock"
    return {VARIABLE: str(file), "PYTHONPATH": f"{folder}{os.pathsep}{_ROOT}"}


def of_a_server(file: Path) -> Mapping[str, str]:
    """Return the environment of any program whose wall clock is off so; it needs `libfaketime`."""
    return {
        "LD_PRELOAD": _library(),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def why_no_server_clock_jumps() -> str:
    """Return what is missing for `of_a_server`, nothing if nothing is."""
    return "" if _library() else "needs libfaketime (apt-get install libfaketime)"


def _library() -> str:
    """Return where libfaketime is: where a variable says, or where Debian puts it."""
    found = next(map(str, sorted(Path("/usr/lib").glob(_LIBRARY))), "")
    return os.environ.get("SKIM_LIBFAKETIME", found)


def jump(file: Path, seconds: int) -> None:
    """Set how far a clock is off."""
    written = file.with_suffix(".new")
    written.write_text(f"{seconds:+d}")
    written.replace(file)
