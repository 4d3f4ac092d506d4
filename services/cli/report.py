"""`skim report`: an evaluation as one page for a browser, and as Markdown."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from pydantic import ValidationError

from services.cli.console import print_json
from shared.dataset import write_lines
from shared.errors import InvalidInput, NotFound


def report_command(
    evaluation: Annotated[Path, typer.Argument(help="What `skim evaluate --json` printed.")],
    gaps: Annotated[Path | None, typer.Option(help="What `skim gaps --json` printed.")] = None,
    target: Annotated[Path, typer.Option(help="The page to write.")] = Path("report.html"),
    markdown: Annotated[Path | None, typer.Option(help="The same as Markdown.")] = None,
) -> None:
    """Write an evaluation, and knowledge gaps, as a self-contained HTML page, and as Markdown."""
    from services.training.report_page.render import as_markdown, as_page, report_sections
    from shared.report_page.gap_figures import KnowledgeGaps

    found = None
    if gaps is not None:
        try:
            found = KnowledgeGaps.model_validate(_read(gaps))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise InvalidInput(f"{gaps}: {where}: {first['msg']}") from error
    try:
        sections = report_sections(_read(evaluation), found)
    except InvalidInput as error:
        raise InvalidInput(f"{evaluation}: {error}") from error
    write_lines(target, [as_page(sections)])
    if markdown is not None:
        write_lines(markdown, [as_markdown(sections).rstrip("\n")])
    print_json({"page": str(target), "markdown": None if markdown is None else str(markdown)})


def _read(path: Path) -> dict[str, Any]:
    try:
        value = orjson.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise NotFound(f"{path}: no such file") from error
    except (OSError, orjson.JSONDecodeError) as error:
        raise InvalidInput(f"{path}: not JSON ({error})") from error
    if not isinstance(value, dict):
        raise InvalidInput(f"{path}: expected a JSON object")
    return value
