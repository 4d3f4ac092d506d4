"""deploy/REFERENCE.md, made from settings, OpenAPI documents and parsers: `python -m tests.support.reference` writes it."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

from pydantic import AliasChoices, SecretStr
from pydantic_settings import BaseSettings
from typer.core import TyperCommand, TyperGroup

from services.cli.__main__ import app
from services.cli.contents import PANELS, command_of
from services.cli.show_settings import KINDS
from tests.support.services import SERVICES

_ROOT = Path(__file__).parents[2]
PAGE = _ROOT / "deploy/REFERENCE.md"
_EVERYWHERE = {"/livez", "/readyz", "/metrics"}
_HEAD = """# Reference

Made by `python -m tests.support.reference` from the settings, the services' OpenAPI documents and the parsers of `skim`; the default tests
hold it to them. Metrics are in [README.md](README.md#health-and-metrics), exit codes in [README.md](README.md#logs-traces-and-skim-doctor).

[Settings](#settings) · [HTTP](#http) · [Commands](#commands)
"""


def reference() -> str:
    """Return the whole page."""
    return "\n".join([_HEAD, *_settings(), "", *_http(), "", *_commands()]) + "\n"


def _settings() -> Iterator[str]:
    yield "## Settings"
    yield ""
    yield "Environment variables. `skim settings show` prints what is in force."
    for kind in KINDS:
        prefix = kind.model_config["env_prefix"]
        yield ""
        yield f"### {prefix}*" if kind is not KINDS[0] else "### All parts"
        yield ""
        yield from _table_head("variable", "type", "default", "meaning")
        meanings = meanings_of(kind)
        for name, field in kind.model_fields.items():
            default = _default(field.default)
            yield _row(_variable(prefix, name, field), _type(field), default, meanings[name])


def _variable(prefix: str, name: str, field: Any) -> str:  # noqa: ANN401  (pydantic's)
    if isinstance(field.validation_alias, AliasChoices):
        return ", ".join(f"`{alias}`" for alias in field.validation_alias.choices)
    return f"`{prefix}{name}`".upper()


def meanings_of(kind: type[BaseSettings]) -> dict[str, str]:
    """Return the docstring below each setting, that of the nearest class; "" where there is none."""
    found = dict.fromkeys(kind.model_fields, "")
    for each in reversed(kind.__mro__):
        if not issubclass(each, BaseSettings) or each is BaseSettings:
            continue
        [cls] = ast.parse(inspect.getsource(each)).body
        assert isinstance(cls, ast.ClassDef)
        for here, below in zip(cls.body, cls.body[1:], strict=False):
            if isinstance(here, ast.AnnAssign) and isinstance(here.target, ast.Name):
                text = _string(below)
                found[here.target.id] = text or found.get(here.target.id, "")
    return found


def _string(node: ast.stmt) -> str:
    is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return " ".join(str(node.value.value).split()) if is_text else ""  # type: ignore[attr-defined]


def _type(field: Any) -> str:  # noqa: ANN401
    kinds = [each for each in get_args(field.annotation) or (field.annotation,)]
    names = [_name(each) for each in kinds if each is not type(None)]
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    bounds = [
        f"{sign} {getattr(each, name):g}"
        for name, sign in signs.items()
        for each in field.metadata
        if hasattr(each, name)
    ]
    return " ".join([" or ".join(names), ", ".join(bounds)]).strip()


def _name(kind: Any) -> str:  # noqa: ANN401
    names = {SecretStr: "secret", str: "text", int: "integer", float: "number", bool: "yes or no"}
    return f"`{kind}`" if isinstance(kind, str) else names.get(kind, kind.__name__.lower())


def _default(value: Any) -> str:  # noqa: ANN401
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"`{value}`"


def _http() -> Iterator[str]:
    yield "## HTTP"
    yield ""
    found = documents()
    shared = set.intersection(
        *(
            set(operation["responses"])
            for document in found.values()
            for _, _, operation in _operations(document)
        )
    )
    yield (
        "Every service answers `/livez`, `/readyz` and `/metrics` without a key, and tells all of this, with bodies, at "
        f"`/openapi.json`. Beside what is in the table each request can be answered {' '.join(sorted(shared))}; errors are "
        "RFC 9457 problem+json."
    )
    for name, document in found.items():
        yield ""
        yield f"### {name}"
        yield ""
        yield document["info"]["description"]
        yield ""
        yield from _table_head("request", "scope", "answers", "says")
        for method, path, operation in _operations(document):
            yield _operation(method, path, operation, shared)


def documents() -> dict[str, dict[str, Any]]:
    """Return the OpenAPI document of each service."""
    found = {}
    with TemporaryDirectory() as home:
        for service in SERVICES:
            folder = Path(home) / service.__name__
            folder.mkdir()
            found[service.__name__] = service(folder).openapi()
    return found


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, operations in sorted(document["paths"].items()):
        if path not in _EVERYWHERE:
            for method, operation in operations.items():
                yield method.upper(), path, operation


def _operation(method: str, path: str, operation: dict[str, Any], shared: set[str]) -> str:
    scopes = sorted(
        {
            each
            for way in operation.get("security", [])
            for scopes in way.values()
            for each in scopes
        }
    )
    codes = sorted(set(operation["responses"]) - shared)
    says = operation.get("description") or operation["summary"]
    return _row(f"`{method} {path}`", ", ".join(scopes) or "-", " ".join(codes), says)


def _commands() -> Iterator[str]:
    whole = command_of(app)
    yield "## Commands"
    yield ""
    yield "`--json` prints the result as one line of JSON, with every command; `--help` says what is here."
    for panel, names in PANELS.items():
        yield ""
        yield f"### {panel}"
        for name in names:
            for words, command in _in(f"skim {name}", whole.commands[name]):
                yield from _command(words, command)


def _in(words: str, command: Any) -> Iterator[tuple[str, TyperCommand]]:  # noqa: ANN401
    if isinstance(command, TyperGroup):
        for name, each in command.commands.items():
            yield from _in(f"{words} {name}", each)
    else:
        yield words, command


def _command(words: str, command: TyperCommand) -> Iterator[str]:
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [
        each
        for each in command.params
        if each.param_type_name == "option" and not {"--json", "--help"} & set(each.opts)
    ]
    usage = [words, *map(_argument, arguments)]
    yield ""
    yield f"#### `{' '.join(usage)}`"
    yield ""
    yield " ".join((command.help or "").split())
    if arguments or options:
        yield ""
    for each in arguments:
        if each.help:
            yield f"- {_argument(each)}: {_flat(each.help)}"
    for each in options:
        names = ", ".join(f"`{name}`" for name in [*each.opts, *each.secondary_opts])
        takes = "" if each.is_flag else f" {_takes(each)}"
        default = "" if each.is_flag or each.default is None else f" (default {_shown(each)})"
        yield f"- {names}{takes}: {_flat(each.help or '')}{default}"


def _argument(parameter: Any) -> str:  # noqa: ANN401
    name = str(parameter.metavar or parameter.name).upper()
    name += "..." if parameter.nargs == -1 else ""
    return name if parameter.required else f"[{name}]"


def _takes(parameter: Any) -> str:  # noqa: ANN401
    kind = parameter.type_descriptor.annotation
    [first, *_] = [each for each in get_args(kind) if each is not type(None)] or [kind]
    if isinstance(first, type) and issubclass(first, Enum):
        return "one of " + ", ".join(f"`{each.value}`" for each in first)
    return {int: "N", float: "N", Path: "PATH", str: "TEXT"}.get(first, "VALUE")


def _shown(parameter: Any) -> str:  # noqa: ANN401
    value = parameter.default
    if isinstance(value, Path) and value.is_relative_to(_ROOT):
        value = value.relative_to(_ROOT)  # wherever the repository lies
    value = value.value if isinstance(value, Enum) else value
    return f"`{value}`"


def _table_head(*names: str) -> Iterator[str]:
    yield _row(*names)
    yield "|" + "---|" * len(names)


def _row(*cells: str) -> str:
    return "| " + " | ".join(_flat(cell).replace("|", "\\|") for cell in cells) + " |"


def _flat(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(PAGE.read_text() != reference())
    PAGE.write_text(reference())
