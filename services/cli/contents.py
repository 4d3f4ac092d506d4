"""The commands as a table of contents: panels in the order of the flow, `--json` everywhere, exit codes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

from services.cli import console

PANELS: Mapping[str, Sequence[str]] = {
    "Begin here": ("demo", "doctor"),
    "The suite on this machine": ("up", "down", "status", "logs", "keys", "settings"),
    "Data and models": ("data", "models", "distill"),
    "Documents to labels": ("mapping", "generate", "augment", "labels", "dead-letters", "store"),
    "Labels to ads": ("train", "publish", "bundles", "ads", "search", "events"),
    "What it is worth": ("simulate", "evaluate", "gaps", "report"),
}
"""Every command, in the order in which somebody needs it. Names of parts that are not here yet do no harm."""

DONE, FAILED, MISUSED, AWAY, INTERRUPTED = 0, 1, 2, 3, 130
EXIT_CODES: Mapping[int, str] = {
    DONE: "done",
    FAILED: "it failed, or a part of it did; the message says what and what to do",
    MISUSED: "the command line is wrong",
    AWAY: "something that is needed does not answer; the same again later may work",
    INTERRUPTED: "Ctrl-C",
}
_EPILOG = (
    "Results go to standard output, all else to standard error; --json makes them one line of JSON. Exit codes: "
    + "; ".join(f"{code} {text.partition(';')[0]}" for code, text in EXIT_CODES.items())
    + ". Something is wrong? skim doctor."
)


def command_of(app: typer.Typer) -> TyperGroup:
    """Return `app` as one command whose help reads like a table of contents."""
    whole: Any = typer.main.get_command(app)
    whole.epilog = _EPILOG
    places = {name: panel for panel, names in PANELS.items() for name in names}
    order = list(places)
    whole.commands = dict(
        sorted(
            whole.commands.items(),
            key=lambda item: order.index(item[0]) if item[0] in places else len(order),
        )
    )
    for name, each in whole.commands.items():
        each.rich_help_panel = places.get(name, "Others")
    for command in commands_in(whole):
        _take_json(command)
    found: TyperGroup = whole
    return found


def commands_in(group: TyperGroup) -> Iterator[TyperCommand]:
    """Yield the commands of a group and of the groups in it."""
    for each in group.commands.values():
        if isinstance(each, TyperGroup):
            yield from commands_in(each)
        elif isinstance(each, TyperCommand):
            yield each


def advised(message: str, group: TyperGroup, arguments: Sequence[str]) -> str:
    """Return an error's message with what to do next, if it names no command of its own.

    Args:
        message: of the error.
        group: the whole command.
        arguments: what was typed after `skim`.
    """
    if "`" in message:
        return message
    words, place = ["skim"], group
    for word in arguments:
        found = place.commands.get(word)
        if found is None:
            break
        words.append(word)
        if not isinstance(found, TyperGroup):
            break
        place = found
    return f"{message}; `{' '.join(words)} --help` says what is expected"


def _take_json(command: TyperCommand) -> None:
    """Let a command take `--json`; one that has it already is heard as well."""
    for parameter in command.params:
        if "--json" in parameter.opts:
            parameter.callback = _hear
            return
    option = _json_option()
    option.callback, option.expose_value = _hear, False
    command.params.append(option)


def _json_option() -> TyperOption:
    """Return `--json` as typer makes an option of an annotation."""

    def result(
        as_json: Annotated[
            bool,
            typer.Option(
                "--json", help="Print the result as one line of JSON, at a terminal too."
            ),
        ] = False,
    ) -> None: ...

    maker = typer.Typer(add_completion=False)
    maker.command()(result)
    [option] = typer.main.get_command(maker).params
    assert isinstance(option, TyperOption)  # noqa: S101  (for the type checker)
    return option


def _hear(context: object, parameter: object, value: bool) -> bool:
    console.wants_json = console.wants_json or value
    return value
