"""A store as a file: written line by line beside its place, and read only if it is whole."""

from __future__ import annotations

import gzip
import hashlib
import lzma
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any

from shared.contracts.augmentation import Counts
from shared.disk import flush
from shared.errors import Conflict, Damaged, InvalidInput
from shared.store import Portable
from shared.store.keys import LAYOUT_VERSION
from shared.store.rows import FORMAT, AnyRow, DocumentRow, EndRow, HeaderRow, line_of, row_of

_ROWS_PER_STEP = 200
_BYTES_PER_STEP = 1_000_000
_PART = ".part"
_PACKERS: dict[str, Callable[[Path, str], Any]] = {".gz": gzip.open, ".xz": lzma.open}
Tell = Callable[[int, int], None]
"""Called with lines done, and how many there are."""


@dataclass(frozen=True)
class Written:
    """What an export came to."""

    lines: int
    documents: int
    has_moved: bool
    resumed_at: int
    """Lines that an export before had left; 0 if it began anew."""


@dataclass
class _Part:
    """The lines written so far, in a file beside the place of the export."""

    path: Path
    header: HeaderRow | None = None
    lines: int = 0
    documents: int = 0
    after: str = ""
    """Id of the last document."""

    def __post_init__(self) -> None:
        self.digest = hashlib.sha256()

    def count(self, line: bytes) -> None:
        self.digest.update(line)
        self.lines += 1


def export_to(path: Path, store: Portable, tell: Tell) -> Written:
    """Write a store to a file; one that was broken off among the documents is gone on with.

    Args:
        path: packed if it ends in .gz or .xz. Nothing is at this name before it is whole.
        store: to read.
        tell: how far it is; of the documents, which are most of the lines.

    Raises:
        Conflict: what was broken off came from another store.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = _begun(path.with_name(path.name + _PART))
    if part.header is not None:
        _check_is_of(part, store)
    resumed_at = part.lines
    with part.path.open("ab") as out:
        header = part.header
        if header is None:
            header = store.header()
            _write(out, part, header)
        total = header.totals["documents"]
        for row in store.iterate_rows(part.after):
            _write(out, part, row)
            if part.documents % _ROWS_PER_STEP == 0:
                tell(min(part.documents, total), total)
        has_moved = store.totals() != dict(header.totals)
        end = EndRow(lines=part.lines, sha256=part.digest.hexdigest(), has_moved=has_moved)
        out.write(line_of(end))
        out.flush()
        os.fsync(out.fileno())
    _put(part.path, path)
    tell(total, total)
    return Written(part.lines, part.documents, has_moved, resumed_at)


def _write(out: IO[bytes], part: _Part, row: AnyRow) -> None:
    line = line_of(row)
    out.write(line)
    part.count(line)
    part.documents += isinstance(row, DocumentRow)


def _begun(path: Path) -> _Part:
    """Return what an earlier export left, cut off behind its last whole document; of less it begins anew."""
    part, size = _Part(path), 0
    if path.exists():
        with path.open("rb") as lines:
            for line in lines:
                row = _whole(line)
                if row is None or isinstance(row, EndRow):
                    break
                part.header = row if isinstance(row, HeaderRow) else part.header
                if isinstance(row, DocumentRow):
                    part.after, part.documents = row.document.id, part.documents + 1
                part.count(line)
                size += len(line)
    if not part.after:
        path.unlink(missing_ok=True)
        return _Part(path)
    os.truncate(path, size)
    return part


def _whole(line: bytes) -> AnyRow | None:
    """Return a row, None where a kill cut it off."""
    try:
        return row_of(line, "") if line.endswith(b"\n") else None
    except Damaged:
        return None


def _check_is_of(part: _Part, store: Portable) -> None:
    """See that a store is the one that a broken-off export is of: what it ever accepted does not get less."""
    before = part.header.totals if part.header else {}
    if store.totals().get("accepted", 0) < before.get("accepted", 0):
        raise Conflict(f"{part.path} was begun with another store; remove it to begin anew")


def _put(part: Path, path: Path) -> None:
    """Give a whole file its name, packed if that says so."""
    packer = _PACKERS.get(path.suffix)
    if packer is None:
        part.replace(path)
    else:
        packed = path.with_name(f".{path.name}")
        with part.open("rb") as lines, packer(packed, "wb") as out:
            shutil.copyfileobj(lines, out, 1 << 20)
        with packed.open("rb") as file:
            os.fsync(file.fileno())
        packed.replace(path)
        part.unlink()
    flush(path.parent)


def import_from(path: Path, store: Portable, tell: Tell, *, replace: bool = False) -> Counts:
    """Write a store from a file; one that was broken off is gone on with.

    The whole file is read twice: nothing is written of one that is not whole.

    Raises:
        Damaged: the file is cut off, or is not what was written.
        InvalidInput: it is of another format or another layout of keys.
        Conflict: the store is not empty, and `replace` is not asked for.
    """
    header, end = verify(path)
    written = store.begin_import(header, replace=replace)
    rows = islice(_rows(path), written + 1, end.lines)  # the header is the first line
    for chunk in _steps(rows):
        now = store.import_rows(written, [row for row, _ in chunk])
        if now != written + len(chunk):
            raise Conflict("another import of the same file is under way")
        written = now
        tell(written + 1, end.lines)
    return store.end_import(has_moved=end.has_moved)


def verify(path: Path) -> tuple[HeaderRow, EndRow]:
    """Return the first and the last row of a file that is whole and of this version.

    Raises:
        Damaged: it is cut off, or is not what was written.
        InvalidInput: it is of another format or another layout of keys.
    """
    digest, lines, last = hashlib.sha256(), 0, b""
    header: HeaderRow | None = None
    for line in _lines(path):
        if lines == 0:
            header = _header_of(line, path)
        else:
            digest.update(last)
        last, lines = line, lines + 1
    end = row_of(last, f"{path}: the last line") if lines > 1 else None
    if header is None or not isinstance(end, EndRow):
        raise Damaged(f"{path}: is cut off; export it again")
    if (end.lines, end.sha256) != (lines - 1, digest.hexdigest()):
        raise Damaged(f"{path}: is not what was written; export it again")
    return header, end


def _header_of(line: bytes, path: Path) -> HeaderRow:
    header = row_of(line, f"{path}: the first line")
    if not isinstance(header, HeaderRow):
        raise Damaged(f"{path}: does not begin as an export of a store does")
    if (header.format, header.layout) != (FORMAT, LAYOUT_VERSION):
        raise InvalidInput(
            f"{path}: is of format {header.format} and layout {header.layout}, expected "
            f"{FORMAT} and {LAYOUT_VERSION}; import it with the version of SKIM that wrote it"
        )
    return header


def _steps(rows: Iterator[tuple[AnyRow, int]]) -> Iterator[list[tuple[Any, int]]]:
    """Yield rows to be written together: so many, and not much more than so many bytes."""
    step: list[tuple[Any, int]] = []
    size = 0
    for row, length in rows:
        step.append((row, length))
        size += length
        if len(step) == _ROWS_PER_STEP or size > _BYTES_PER_STEP:
            yield step
            step, size = [], 0
    if step:
        yield step


def _rows(path: Path) -> Iterator[tuple[AnyRow, int]]:
    for number, line in enumerate(_lines(path), start=1):
        yield row_of(line, f"{path}, line {number}"), len(line)


def _lines(path: Path) -> Iterator[bytes]:
    opener = _PACKERS.get(path.suffix)
    try:
        with opener(path, "rb") if opener else path.open("rb") as lines:
            yield from lines
    except (EOFError, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise Damaged(f"{path}: cannot be unpacked ({error})") from error
