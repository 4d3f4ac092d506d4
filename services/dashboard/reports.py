"""Reports that commands wrote as JSON into SKIM's home: found, told apart, and read as sections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import orjson
from pydantic import ValidationError

from shared.errors import InvalidInput, NotFound
from shared.report_page.evaluation_tables import evaluation_sections
from shared.report_page.gap_figures import KnowledgeGaps
from shared.report_page.gap_tables import gap_section
from shared.report_page.tables import Section

PATTERNS = ("reports/*.json", "data/*/reports/*.json")
"""Of a home's files: of any data folder, and of those that live in it."""
_MAX_BYTES = 20_000_000

Kind = Literal["gaps", "evaluation", "unknown"]


@dataclass(frozen=True)
class ReportFile:
    """A report that can be shown."""

    name: str
    """Its path below the home."""
    kind: Kind
    written_at: datetime
    stamp: Mapping[str, str]


@dataclass(frozen=True)
class Report:
    """A report as it is shown."""

    file: ReportFile
    sections: Sequence[Section]


class ReportFolder:
    """The reports below a home.

    Args:
        home: SKIM's (`SKIM_HOME`).
    """

    def __init__(self, home: Path) -> None:
        self._home = home

    def files(self) -> list[ReportFile]:
        """Return the reports there are, the newest first."""
        found = [self._file(path, self._read(path)) for path in self._paths().values()]
        return sorted(found, key=lambda each: each.written_at, reverse=True)

    def report(self, name: str) -> Report:
        """Return a report by its name.

        Raises:
            NotFound: there is none of that name.
            InvalidInput: the file is not what `skim gaps --json` or `skim evaluate --json` prints.
        """
        path = self._paths().get(name)  # looked up, never joined: a name leads nowhere else
        if path is None:
            raise NotFound(f"there is no report {name!r}")
        value = self._read(path)
        file = self._file(path, value)
        if not isinstance(value, dict):
            raise InvalidInput(f"{name}: expected a JSON object of at most {_MAX_BYTES:,} bytes")
        if file.kind != "gaps":
            return Report(file, evaluation_sections(value))
        try:
            return Report(file, [gap_section(KnowledgeGaps.model_validate(value))])
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise InvalidInput(f"{name}: {where}: {first['msg']}") from error

    def _paths(self) -> dict[str, Path]:
        return {
            path.relative_to(self._home).as_posix(): path
            for pattern in PATTERNS
            for path in self._home.glob(pattern)
            if path.is_file() and path.resolve().is_relative_to(self._home.resolve())
        }

    def _read(self, path: Path) -> Any:  # noqa: ANN401  (any JSON)
        try:
            if path.stat().st_size > _MAX_BYTES:
                return None
            return orjson.loads(path.read_bytes())
        except (OSError, orjson.JSONDecodeError):
            return None

    def _file(self, path: Path, value: Any) -> ReportFile:  # noqa: ANN401  (any JSON)
        fields = value if isinstance(value, dict) else {}
        stamp = fields.get("stamp", fields)
        return ReportFile(
            name=path.relative_to(self._home).as_posix(),
            kind=_kind_of(fields),
            written_at=datetime.fromtimestamp(path.stat().st_mtime, UTC),
            stamp={
                name: str(stamp[name])
                for name in ("date", "command", "commit")
                if isinstance(stamp, dict) and name in stamp
            },
        )


def _kind_of(fields: Mapping[str, Any]) -> Kind:
    if "document_gaps" in fields:
        return "gaps"
    try:
        evaluation_sections(fields)
    except (InvalidInput, ValueError, TypeError, AttributeError):
        return "unknown"
    return "evaluation"
