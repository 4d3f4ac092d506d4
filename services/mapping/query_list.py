"""Train queries as two lists of strings: nothing that the garbage collector walks, a fraction of the objects' memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self, overload

from shared.dataset import Query


@dataclass(frozen=True)
class QueryList(Sequence[Query]):
    """Train queries, each made when it is asked for.

    A million of them as objects of several parts each, and the collector stops the service to visit them.
    """

    ids: list[str]
    texts: list[str]
    """One a query, like the ids."""

    @classmethod
    def of(cls, queries: Iterable[Query]) -> Self:
        """Keep what is mapped to of train queries: id and text."""
        ids, texts = [], []
        for query in queries:
            ids.append(query.id)
            texts.append(query.text)
        return cls(ids, texts)

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, position: int) -> Query: ...
    @overload
    def __getitem__(self, position: slice) -> Self: ...
    def __getitem__(self, position: int | slice) -> Query | Self:
        if isinstance(position, slice):
            return type(self)(self.ids[position], self.texts[position])
        return Query(id=self.ids[position], text=self.texts[position])

    def __iter__(self) -> Iterator[Query]:
        for query_id, text in zip(self.ids, self.texts, strict=True):
            yield Query(id=query_id, text=text)
