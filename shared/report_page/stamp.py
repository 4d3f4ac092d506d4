"""What a report says of where its figures come from."""

from __future__ import annotations

from shared.contracts.base import Contract

UNKNOWN = "not recorded"


class Stamp(Contract):
    """Date, machine, command and commit of figures."""

    date: str = UNKNOWN
    machine: str = UNKNOWN
    command: str = UNKNOWN
    commit: str = UNKNOWN
