"""What one look of `skim doctor` comes to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "absent", "warning", "wrong"]
"""absent: not there yet, which only some need."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    of: str
    state: State
    found: str
    advice: str = ""
    """What to do; empty if nothing."""
