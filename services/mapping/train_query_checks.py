"""What train queries must be before anything is mapped to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from shared.dataset import Query
from shared.errors import InvalidInput


def check_split(queries: Sequence[Query]) -> None:
    """Raise `InvalidInput` unless there are queries and all are of the train split."""
    if not queries:
        raise InvalidInput("no train queries: expected at least one query with split 'train'")
    for _ in train_only(queries):
        pass


def train_only(queries: Iterable[Query]) -> Iterator[Query]:
    """Yield the queries; raise `InvalidInput` at one that is not of the train split."""
    for query in queries:
        if query.split != "train":
            raise InvalidInput(
                f"query {query.id!r} is of split {query.split!r}; only train queries are mapped to"
            )
        yield query


def by_id(queries: Sequence[Query]) -> Mapping[str, Query]:
    """Return the queries by id.

    Raises:
        InvalidInput: an id occurs with two texts.
    """
    known: dict[str, Query] = {}
    for query in queries:
        other = known.setdefault(query.id, query)
        if other.text != query.text:
            raise InvalidInput(
                f"train query id {query.id!r} occurs twice, as {other.text!r} and as {query.text!r}"
            )
    return known
