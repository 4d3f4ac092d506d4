"""`skim logs`: what the parts of the suite on this machine wrote, in order of time."""

from __future__ import annotations

from typing import Annotated

import orjson
import typer

from services.cli.console import out
from services.cli.log_lines import Choice, Follower, LogLine, parts_in, read_lines, readable
from services.cli.suite import run_folder
from shared.errors import InvalidInput, NotFound
from shared.settings import CommonSettings


def _complete(given: str) -> list[str]:
    folder = run_folder(CommonSettings()) / "logs"
    return [part for part in parts_in(folder) if part.startswith(given)]


def logs(
    parts: Annotated[
        list[str] | None,
        typer.Argument(
            help="Parts, as `skim status` names them; all if absent.", autocompletion=_complete
        ),
    ] = None,
    follow_on: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what is written; Ctrl-C ends it.")
    ] = False,
    job: Annotated[
        str | None, typer.Option(help="Only lines of this job, its id or 6 digits.")
    ] = None,
    request: Annotated[
        str | None, typer.Option(help="Only lines of this request, its X-Request-ID.")
    ] = None,
    lines: Annotated[
        int, typer.Option("-n", "--lines", min=0, help="Most lines to begin with.")
    ] = 200,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON a line.")] = False,
) -> None:
    """Show what the parts logged. A request's id goes with it, so that --request shows its way through them."""
    folder = run_folder(CommonSettings()) / "logs"
    known = parts_in(folder)
    if not known:
        raise NotFound(f"{folder}: no logs yet; `skim up` starts the suite, which writes them")
    if unknown := sorted(set(parts or []) - set(known)):
        raise InvalidInput(
            f"{', '.join(unknown)}: no such part has logged here; expected of {', '.join(known)}"
        )
    choice = Choice(job, request)
    width = max(map(len, known))
    follower = (
        Follower(folder, parts or [], choice) if follow_on else None
    )  # before: none is missed
    found = read_lines(folder, parts or known, choice)
    for line in found[len(found) - lines :] if lines < len(found) else found:
        _show(line, width, as_json=as_json)
    if follower is not None:
        for line in follower.lines():
            _show(line, width, as_json=as_json)


def _show(line: LogLine, width: int, *, as_json: bool) -> None:
    if as_json:
        fields = line.fields or {"timestamp": line.at, "event": line.text}
        text = orjson.dumps({"part": line.part, **fields}).decode()
    else:
        text = readable(line, width)
    style = "red" if line.fields.get("level") in {"error", "critical"} else None
    out.print(text, style=style, highlight=False, markup=False)
