"""Train queries as two lists of strings: nothing that the garbage collector walks, a third of the objects' memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Self, overload

from shared.dataset import Query


class QueryList(Sequence[Query]):
    """A million train queries are a million objects of several parts each, and the collector stops the service to visit them.

    Args:
        ids: one a query.
        texts: likewise.
    """

    def __init__(self, ids: list[str], texts: list[str]) -> None:
        self._ids, self._texts = ids, texts

    @classmethod
    def of(cls, queries: Iterable[Query]) -> Self:
        """Keep what is mapped to of train queries: id and text."""
        ids, texts = [], []
        for query in queries:
            ids.append(query.id)
            texts.append(query.text)
        return cls(ids, texts)

    @property
    def ids(self) -> Sequence[str]:
        """Return the ids, by position."""
        return self._ids

    def __len__(self) -> int:
        return len(self._ids)

    @overload
    def __getitem__(self, position: int) -> Query: ...
    @overload
    def __getitem__(self, position: slice) -> Self: ...
    def __getitem__(self, position: int | slice) -> Query | Self:
        if isinstance(position, slice):
            return type(self)(self._ids[position], self._texts[position])
        return Query(id=self._ids[position], text=self._texts[position])

    def __iter__(self) -> Iterator[Query]:
        for query_id, text in zip(self._ids, self._texts, strict=True):
            yield Query(id=query_id, text=text)
