"""An index of train queries in a folder, opened and asked."""

from __future__ import annotations

from pathlib import Path

from services.mapping.train_queries import TrainQueries, Upkeep
from shared.dataset import Query
from tests.support.encoders import BagOfWordsEncoder

ENCODER = BagOfWordsEncoder()


def query(name: str, text: str | None = None) -> Query:
    return Query(id=name, text=text or f"{name} text")


def opened(folder: Path, upkeep: Upkeep | None = None) -> TrainQueries:
    return TrainQueries.load(folder, ENCODER, upkeep=upkeep)


def texts(train_queries: TrainQueries) -> dict[str, str]:
    return {each.id: each.text for each in train_queries.index.queries}


def nearest(train_queries: TrainQueries, text: str) -> str:
    [[(found, _)]] = train_queries.index.nearest(ENCODER.encode([text]), 1)
    return found.id
