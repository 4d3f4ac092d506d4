"""`skim doctor`: is everything there that SKIM needs on this machine, and is it what it should be?"""

from __future__ import annotations

from typing import Annotated

import typer
from pydantic import ValidationError
from rich import box
from rich.table import Table
from rich.text import Text

from services.cli.check import Check, State
from services.cli.checks import all_checks, as_facts, worst_of
from services.cli.console import err, print_json, print_table
from shared.settings import CommonSettings

_STYLES: dict[State, str] = {
    "ok": "green",
    "absent": "yellow",
    "warning": "yellow",
    "wrong": "red",
}


def doctor_command(
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Check versions, settings, disk, ports, Redis, GPU, models, index and bundles, each file by its sha256.

    Exit code 1 if something is wrong; what is only not there yet is no fault.
    """
    checks: list[Check] = []
    try:
        common = CommonSettings()
    except (
        ValidationError
    ):  # the check of the settings says what is wrong; the others take the defaults
        common = CommonSettings.model_construct()
    with err.status("Looking") as progress:
        for check in all_checks(common):
            checks.append(check)
            progress.update(f"Looked at {check.of}")
    if as_json:
        print_json(as_facts(checks))
    else:
        print_table(_table_of(checks))
    if worst_of(checks):
        raise typer.Exit(1)


def _table_of(checks: list[Check]) -> Table:
    table = Table("", "of", box=box.SIMPLE_HEAD)
    table.add_column("found", overflow="fold")
    table.add_column("do", overflow="fold")
    for check in checks:
        state = Text(check.state, style=_STYLES[check.state])
        table.add_row(state, check.of, Text(check.found), Text(check.advice))
    return table
