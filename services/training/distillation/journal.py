"""A file of JSON lines that only grows and survives a crash in the middle of a write."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Generic, Self, TypeVar

from pydantic import ValidationError

from shared.contracts.base import Contract
from shared.dataset import read_rows
from shared.errors import Conflict, SkimError

_Row = TypeVar("_Row", bound=Contract)


class Journal(Generic[_Row]):
    """Rows of one kind, appended with one write each; only one process at a time has it open.

    A last line without its end is what a crash left: it is kept if it is whole, else dropped.

    Args:
        path: of the file, made if it does not exist.
        model: what a line holds.
        key: the field that is distinct, None if rows may repeat.

    Raises:
        Conflict: another process has it open.
        SkimError: it cannot be opened.
    """

    def __init__(self, path: Path, model: type[_Row], *, key: str | None = "id") -> None:
        self._path, self._model, self._key = path, model, key
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+b", buffering=0)
        except OSError as error:
            raise SkimError(f"{path}: cannot be opened ({error.strerror})") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.close()
            raise Conflict(f"{path}: another process is writing it") from error
        self._mend()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let another process write."""
        self._file.close()

    def rows(self) -> Iterator[_Row]:
        """Yield what was written so far.

        Raises:
            InvalidInput: a line is malformed or repeats a key; names file and line.
        """
        return read_rows(self._path, self._model, key=self._key)

    def append(self, row: _Row) -> None:
        """Write one row; it is with the operating system when this returns.

        Raises:
            SkimError: it could not be written whole.
        """
        line = row.model_dump_json(exclude_none=True).encode() + b"\n"
        try:
            is_whole = self._file.write(line) == len(line)
        except OSError as error:
            raise SkimError(f"{self._path}: cannot be written ({error.strerror})") from error
        if not is_whole:
            raise SkimError(f"{self._path}: cannot be written whole (no room is left)")

    def _mend(self) -> None:
        self._file.seek(0)
        content = self._file.read()
        end = content.rfind(b"\n") + 1
        if end == len(content):
            return
        try:
            self._model.model_validate_json(content[end:])
        except ValidationError:
            self._file.truncate(end)
        else:
            self._file.seek(0, os.SEEK_END)
            self._file.write(b"\n")
