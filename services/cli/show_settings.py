"""`skim settings show`: every setting as it is in force here, secrets hidden."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import SecretStr
from pydantic_settings import BaseSettings
from rich import box
from rich.table import Table
from rich.text import Text

from services.augmentation.settings import AugmentationSettings
from services.cli.console import out, print_json
from services.dashboard.settings import DashboardSettings
from services.generation.settings import GenerationSettings
from services.inference.settings import InferenceSettings
from services.mapping.settings import MappingSettings
from services.training.distillation.settings import TeacherSettings
from services.training.event_settings import EventSettings
from shared.settings import CommonSettings

KINDS: Sequence[type[BaseSettings]] = (
    CommonSettings,
    GenerationSettings,
    MappingSettings,
    AugmentationSettings,
    InferenceSettings,
    DashboardSettings,
    EventSettings,
    TeacherSettings,
)
HIDDEN = "**********"

app = typer.Typer(help="Look at the settings.")


@app.callback()
def _group() -> None:
    """Look at the settings."""


@app.command()
def show(
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Show every setting with its value; those not in bold are the defaults. Secrets are hidden."""
    rows = list(effective([kind() for kind in KINDS]))
    if as_json:
        print_json({name: value for name, value, _ in rows})
        return
    table = Table("variable", "value", box=box.SIMPLE_HEAD)
    for name, value, is_set in rows:
        style = "bold" if is_set else ""
        table.add_row(
            Text(name, style=style), Text("" if value is None else str(value), style=style)
        )
    out.print(table)


def effective(settings: Sequence[BaseSettings]) -> Iterator[tuple[str, Any, bool]]:
    """Yield the variable, the value as it may be shown, and whether it was set, of every setting."""
    for each in settings:
        prefix = each.model_config["env_prefix"]
        for field in type(each).model_fields:
            name = f"{prefix}{field}".upper()
            yield name, shown(getattr(each, field)), field in each.model_fields_set


def shown(value: Any) -> Any:  # noqa: ANN401  (a setting of any type)
    """Return a setting's value as JSON may hold it, with secrets and passwords in addresses hidden."""
    if isinstance(value, SecretStr):
        return HIDDEN if value.get_secret_value() else ""
    if isinstance(value, str):
        return _without_password(value)
    return str(value) if isinstance(value, Path) else value


def _without_password(value: str) -> str:
    """Return an address without what stands before its host, or is called a password in its query."""
    value = re.sub(r"(?<=://).*@", f"{HIDDEN}@", value, flags=re.DOTALL)
    return re.sub(r"(?<=password=)[^&#]*", HIDDEN, value)
