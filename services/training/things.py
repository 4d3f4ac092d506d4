"""Write the default data folder, `things`: WordNet's catalogue with complete truth, two splits and biased clicks."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.training.catalogue import (
    Catalogue,
    Counts,
    fraction_of,
    make_catalogue,
    slice_of,
    without_obscene,
)
from services.training.simulation import (
    DEFAULT_SHOWN,
    deterministic_clicks,
    rank_pairs,
    shown_for,
    shown_pairs,
)
from services.training.wordnet import read_synsets
from services.training.wordnet_source import WordNet
from shared.contracts.base import Contract
from shared.dataset import Pairs, Query, Split, write_lines, write_pairs, write_rows
from shared.errors import Conflict, InvalidInput

FORMAT_VERSION = 1
CARD = "dataset.json"
NEW_INTENTS = "new_intents"
"""Name of the split by label set; the split in queries.jsonl is by wording."""
EXPOSURE = 0.168
"""Share of the truth that K = 50 shows on the whole catalogue (WordNet 3.0, all-MiniLM-L6-v2 int8).
A slice's K is the one that shows nearest to as much."""
SHARES: Sequence[tuple[Split, float]] = (("train", 0.6), ("validation", 0.1), ("test", 0.3))
ALWAYS_TRAIN = frozenset(
    {
        "clothing", "container", "cup", "cutting tool", "device", "double reed instrument",
        "double-reed instrument", "firearm", "food", "garment", "glove", "gun", "handgun", "jelly",
        "kitchen utensil", "musical instrument", "orchestra instrument", "pistol", "sidearm",
        "structure", "vehicle", "vessel", "weapon", "wind instrument", "woodwind",
    }
)  # fmt: skip
"""The teacher's prompt names these as examples (deploy/models/teacher), so they may never be test queries."""
_TEXTS_AT_ONCE = 512

Progress = Callable[[int, int], None]
"""Called with (texts encoded, texts in all)."""


class EncodesTexts(Protocol):
    """What the logging policy needs of an encoder."""

    @property
    def name(self) -> str:
        """Return the encoder's id with the first digits of its sha256."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return (texts, dimensions) float32 unit vectors, in the order given."""


class ThingsSummary(Contract):
    """`dataset.json`: what `skim data things` wrote and from what."""

    format_version: int = FORMAT_VERSION
    name: str = "things"
    wordnet_version: str | None
    wordnet_sha256: str
    seed: int
    unfiltered: Counts
    """The whole catalogue before slurs and obscene words are dropped."""
    filtered: Counts
    """The whole catalogue after that."""
    documents: int
    queries: int
    pairs: int
    clicks: int
    exposure: float
    """Share of the pairs that the logging policy showed; all these are clicked."""
    shown: int
    """The logging policy's K."""
    logging_encoder: str
    new_wordings: dict[Split, int]
    """Queries of each split in queries.jsonl."""
    new_intents: dict[Split, int]


def build_things(
    folder: Path,
    *,
    encoder: EncodesTexts,
    wordnet: WordNet,
    documents: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> ThingsSummary:
    """Write things as a data folder (shared/dataset.py); files move into place when all are made.

    Clicks are written for queries of every split; who trains uses those of train queries.

    Args:
        folder: receives documents, queries, truth, clicks, impressions, the split `new_intents` and the card.
        encoder: of the logging policy.
        wordnet: the source.
        documents: keep a fixed random slice of this size; all if absent.
        seed: of slice and splits.
        progress: told how many texts are encoded.

    Raises:
        Conflict: the folder holds another data set.
        InvalidInput: WordNet is malformed, or the slice is too small or too large.
    """
    if (folder / "documents.jsonl").exists() and not (folder / CARD).exists():
        raise Conflict(f"{folder}: holds a data set that is not things; name another folder")
    unfiltered = make_catalogue(read_synsets(wordnet.data_noun))
    filtered = without_obscene(unfiltered)
    catalogue = filtered if documents is None else slice_of(filtered, documents, seed)
    if not catalogue.queries:
        raise InvalidInput(f"{wordnet.data_noun}: no query has two documents of artifacts or food")
    pairs = _true_pairs(catalogue)
    queries, titles = _encode(catalogue, encoder, progress)
    ranks = rank_pairs(queries, titles, pairs)
    shown = DEFAULT_SHOWN if documents is None else shown_for(ranks, EXPOSURE)
    is_clicked = deterministic_clicks(ranks, shown)
    wordings, intents = new_wordings(catalogue.queries, seed), new_intents(catalogue, seed)
    counts = catalogue.counts
    summary = ThingsSummary(
        wordnet_version=wordnet.version,
        wordnet_sha256=wordnet.sha256,
        seed=seed,
        unfiltered=unfiltered.counts,
        filtered=filtered.counts,
        documents=counts.documents,
        queries=counts.queries,
        pairs=counts.pairs,
        clicks=int(is_clicked.sum()),
        exposure=round(float(is_clicked.mean()), 4),
        shown=shown,
        logging_encoder=encoder.name,
        new_wordings=_sizes(wordings),
        new_intents=_sizes(intents),
    )
    clicks = _named(catalogue, pairs[is_clicked])
    impressions = _named(catalogue, shown_pairs(queries, titles, shown))
    _write(folder, catalogue, wordings, intents, clicks, impressions, summary)
    return summary


def new_wordings(queries: Sequence[Query], seed: int) -> dict[str, Split]:
    """Part queries at random: a test query often has a synonym in train, as a real log's next day does."""
    return {
        query.id: "train" if query.text in ALWAYS_TRAIN else _split_of(seed, query.text)
        for query in queries
    }


def new_intents(catalogue: Catalogue, seed: int) -> dict[str, Split]:
    """Part queries by label set: queries with the same right documents stay together.

    A set's split hangs on its first query by alphabet, so that it mostly survives WordNet versions.
    """
    groups: dict[frozenset[str], list[Query]] = defaultdict(list)
    for query in catalogue.queries:
        groups[frozenset(catalogue.truth[query.id])].append(query)
    splits: dict[str, Split] = {}
    for group in groups.values():
        texts = sorted(query.text for query in group)
        split = "train" if ALWAYS_TRAIN.intersection(texts) else _split_of(seed, texts[0])
        splits.update({query.id: split for query in group})
    return {query.id: splits[query.id] for query in catalogue.queries}


def _split_of(seed: int, key: str) -> Split:
    fraction = fraction_of(seed, f"split/{key}")
    reached = 0.0
    for split, share in SHARES[:-1]:
        reached += share
        if fraction < reached:
            return split
    return SHARES[-1][0]


def _true_pairs(catalogue: Catalogue) -> NDArray[np.int64]:
    """Return the true pairs, (pairs, 2) rows of queries and documents."""
    row = {document.id: number for number, document in enumerate(catalogue.documents)}
    return np.array(
        [
            (number, row[document_id])
            for number, query in enumerate(catalogue.queries)
            for document_id in catalogue.truth[query.id]
        ],
        dtype=np.int64,
    )


def _encode(
    catalogue: Catalogue, encoder: EncodesTexts, progress: Progress | None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the vectors of all queries and of all titles."""
    texts = [query.text for query in catalogue.queries]
    texts += [document.title for document in catalogue.documents]
    vectors = []
    for start in range(0, len(texts), _TEXTS_AT_ONCE):
        vectors.append(encoder.encode(texts[start : start + _TEXTS_AT_ONCE]))
        if progress is not None:
            progress(min(start + _TEXTS_AT_ONCE, len(texts)), len(texts))
    queries, titles = np.split(np.concatenate(vectors), [len(catalogue.queries)])
    return queries, titles


def _named(catalogue: Catalogue, pairs: NDArray[np.int64]) -> Pairs:
    named: Pairs = {}
    for query, document in pairs.tolist():
        row = named.setdefault(catalogue.queries[query].id, {})
        row[catalogue.documents[document].id] = 1.0
    return named


def _write(
    folder: Path,
    catalogue: Catalogue,
    wordings: Mapping[str, Split],
    intents: Mapping[str, Split],
    clicks: Pairs,
    impressions: Pairs,
    summary: ThingsSummary,
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        made = Path(scratch)
        write_rows(made / "documents.jsonl", catalogue.documents)
        queries = [
            query.model_copy(update={"split": wordings[query.id]}) for query in catalogue.queries
        ]
        write_rows(made / "queries.jsonl", queries)
        write_pairs(made / "qrels.tsv", catalogue.truth)
        write_pairs(made / "clicks.tsv", clicks)
        write_pairs(made / "impressions.tsv", impressions)
        splits = Path("splits") / f"{NEW_INTENTS}.tsv"
        write_lines(made / splits, (f"{key}\t{split}" for key, split in intents.items()))
        write_lines(made / CARD, [summary.model_dump_json(indent=2)])
        (folder / splits).parent.mkdir(exist_ok=True)
        pairs = ("qrels.tsv", "clicks.tsv", "impressions.tsv")
        for name in ("documents.jsonl", "queries.jsonl", *pairs, splits, CARD):
            (made / name).replace(folder / name)


def _sizes(splits: Mapping[str, Split]) -> dict[Split, int]:
    parts = list(splits.values())
    return {split: parts.count(split) for split, _ in SHARES}
