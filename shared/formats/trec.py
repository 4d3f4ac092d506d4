"""TREC qrels: judgements made by people, `query iteration document relevance` a line, by white space."""

from __future__ import annotations

from pathlib import Path

from shared.dataset import Pairs, escape_id, numbered_lines
from shared.errors import InvalidInput

_FIELDS = 4


def read_qrels(path: Path) -> Pairs:
    """Read judgements, ids escaped as in every data folder.

    A relevance below 0 (TREC's "junk") becomes 0.

    Raises:
        NotFound: there is no such file.
        InvalidInput: a line is malformed, or a pair is judged twice; names file and line.
    """
    pairs: Pairs = {}
    for number, line in numbered_lines(path):
        fields = line.split()
        if not fields:
            continue
        where = f"{path}:{number}"
        if len(fields) != _FIELDS:
            raise InvalidInput(f"{where}: expected query, iteration, document and relevance")
        query_id, document_id = escape_id(fields[0]), escape_id(fields[2])
        try:
            relevance = int(fields[3])
        except ValueError as error:
            raise InvalidInput(f"{where}: {fields[3]!r} is not a whole number") from error
        row = pairs.setdefault(query_id, {})
        if document_id in row:
            raise InvalidInput(f"{where}: {fields[0]!r} and {fields[2]!r} are judged twice")
        row[document_id] = float(max(relevance, 0))
    return pairs
