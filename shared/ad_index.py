"""The vectors of the ads and the search over them: training writes them, inference searches them.

`AdIndex` is the port: a distributed engine may take its place. `FaissIndex` is what there is, in one process.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal, Protocol

import faiss
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from shared.contracts.base import Contract
from shared.errors import Damaged, InvalidInput, NotFound

VECTORS = "vectors.npy"
INDEX = "ads.faiss"

Kind = Literal["flat", "flat_sq8", "hnsw", "hnsw_sq8"]
FLAT_ADS = 30_000
"""Up to so many ads an exact scan is as fast as a graph, on a CPU."""
MIN_RECALL = 0.995
"""Recall@10 against the exact scan that a graph must have on a sample, so that it has .99 on all that is asked."""
_M, _EF_CONSTRUCTION = 16, 100
_EFS = (32, 64, 128, 256, 512)
_JUDGED_QUERIES = 200
_EXACT_SHARE, _EXACT_ADS = 0.1, 30_000
"""Of the ads: fewer that are allowed are scanned, one by one."""
_WIDEST_EF = 2_048

Vectors = NDArray[np.float32]
Found = tuple[NDArray[np.float32], NDArray[np.int64]]
"""Scores and positions, each (queries, found), best first."""


class IndexCard(Contract):
    """What an index is, and how good it was found to be."""

    kind: Kind
    """flat: every ad is compared, exact. hnsw: a graph. sq8: 8 bits a number instead of 32."""
    ef: int | None = Field(default=None, ge=1)
    """Neighbours a search of the graph keeps."""
    recall_at_10: float = Field(default=1.0, ge=0, le=1)
    """Against the exact scan, where it was chosen."""


class Allowed:
    """Which positions a search may return.

    Args:
        mask: (positions,) bool.
    """

    def __init__(self, mask: NDArray[np.bool_]) -> None:
        self.mask = mask
        self.count = int(np.count_nonzero(mask))

    @cached_property
    def bits(self) -> NDArray[np.uint8]:
        """Return the mask with eight positions a byte, the first lowest."""
        return np.packbits(self.mask, bitorder="little")


class AdIndex(Protocol):
    """Finds the ads whose vectors have the largest inner product with a query's. Never changes; safe in several threads."""

    @property
    def card(self) -> IndexCard:
        """Return what it is."""

    @property
    def dimensions(self) -> int:
        """Return the length of the vectors."""

    def __len__(self) -> int: ...

    def search(self, queries: Vectors, k: int, allowed: Allowed | None = None) -> Found:
        """Return scores and ad positions, each (queries, min(k, ads that are allowed)), best first.

        Args:
            queries: (any number, dimensions) float32.
            k: at least 1.
            allowed: (ads,); all ads if absent.

        Raises:
            InvalidInput: the queries have another dimension, or k is below 1.
        """

    def vector(self, position: int) -> Vectors:
        """Return the (dimensions,) float32 vector of an ad, as exact as it is stored."""


class FaissIndex:
    """An index of faiss, which lets go of the interpreter while it searches and loads.

    Args:
        index: filled.
        card: says what it is.
    """

    def __init__(self, index: faiss.Index, card: IndexCard) -> None:
        self.card = card
        self._index = index
        self._is_graph = card.kind.startswith("hnsw")
        self._storage = faiss.downcast_index(index.storage) if self._is_graph else index

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def dimensions(self) -> int:
        """Return the length of the vectors."""
        return int(self._index.d)

    def search(self, queries: Vectors, k: int, allowed: Allowed | None = None) -> Found:
        """Return scores and ad positions, each (queries, min(k, ads that are allowed)), best first; see `AdIndex`."""
        if queries.ndim != 2 or queries.shape[1] != self.dimensions:
            raise InvalidInput(
                f"query vectors of shape {queries.shape}, expected (any, {self.dimensions})"
            )
        if k < 1:
            raise InvalidInput(f"k is {k}, expected at least 1")
        if allowed is not None and allowed.count == len(self):
            allowed = None
        k = min(k, len(self) if allowed is None else allowed.count)
        if not k or not len(queries):
            return _nothing(len(queries), k)
        # Of this thread only. One query is its caller's core: OpenMP's spinning team made it 8 times
        # slower beside other requests.
        faiss.omp_set_num_threads(1 if len(queries) == 1 else os.cpu_count() or 1)
        queries = np.ascontiguousarray(queries)
        if self._is_graph and not self._is_selective(allowed):
            found = self._search_graph(queries, k, allowed)
            if (found[1] >= 0).all():  # else the graph did not reach k that are allowed
                return found
        return self.search_exactly(queries, k, allowed)

    def search_exactly(self, queries: Vectors, k: int, allowed: Allowed | None = None) -> Found:
        """Return what `search` may approximate; k is at most the ads that are allowed."""
        parameters = None
        if allowed is not None:
            parameters = faiss.SearchParameters(sel=faiss.IDSelectorBitmap(allowed.bits))
        scores, positions = self._storage.search(queries, k, params=parameters)
        return scores, positions

    def vector(self, position: int) -> Vectors:
        """Return the (dimensions,) float32 vector of an ad, as exact as it is stored."""
        vector: Vectors = self._storage.reconstruct(position)
        return vector

    def save(self, path: Path) -> None:
        """Write the index, without its card."""
        faiss.write_index(self._index, str(path))

    def _is_selective(self, allowed: Allowed | None) -> bool:
        return allowed is not None and allowed.count <= min(
            _EXACT_ADS, max(1_000, _EXACT_SHARE * len(self))
        )

    def _search_graph(self, queries: Vectors, k: int, allowed: Allowed | None) -> Found:
        ef = max(self.card.ef or 0, 2 * k)
        if allowed is None:
            parameters = faiss.SearchParametersHNSW(efSearch=ef)
        else:  # those that are not allowed are walked through as well
            share = allowed.count / len(self)
            ef = min(round(ef / share), max(_WIDEST_EF, ef))
            parameters = faiss.SearchParametersHNSW(
                efSearch=ef, sel=faiss.IDSelectorBitmap(allowed.bits)
            )
        scores, positions = self._index.search(queries, k, params=parameters)
        return scores, positions


def flat_index(vectors: Vectors) -> FaissIndex:
    """Return the exact index.

    Args:
        vectors: (ads, dimensions) float32, not necessarily of unit length, at least one row.

    Raises:
        InvalidInput: another shape or type, or NaN or infinity in them.
    """
    return build_index(vectors, "flat")


def build_index(
    vectors: Vectors, kind: Kind, *, ef: int | None = None, threads: int | None = None
) -> FaissIndex:
    """Return an index of a kind, unjudged; see `flat_index`. Built on all cores unless told."""
    reason = _fault(vectors)
    if reason is not None:
        raise InvalidInput(f"ad vectors: {reason}")
    dimensions, metric = vectors.shape[1], faiss.METRIC_INNER_PRODUCT
    eight_bits = faiss.ScalarQuantizer.QT_8bit
    if kind == "flat":
        index = faiss.IndexFlatIP(dimensions)
    elif kind == "flat_sq8":
        index = faiss.IndexScalarQuantizer(dimensions, eight_bits, metric)
    elif kind == "hnsw":
        index = faiss.IndexHNSWFlat(dimensions, _M, metric)
    else:
        index = faiss.IndexHNSWSQ(dimensions, eight_bits, _M, metric)
    if kind.startswith("hnsw"):
        index.hnsw.efConstruction = _EF_CONSTRUCTION
    faiss.omp_set_num_threads(threads or os.cpu_count() or 1)
    vectors = np.ascontiguousarray(vectors)
    if not index.is_trained:
        index.train(vectors)
    index.add(vectors)
    return FaissIndex(index, IndexCard(kind=kind, ef=ef if kind.startswith("hnsw") else None))


def choose_index(
    vectors: Vectors,
    queries: Vectors | None = None,
    *,
    flat_ads: int = FLAT_ADS,
    max_bytes: int | None = None,
    threads: int | None = None,
) -> FaissIndex:
    """Return the cheapest index that finds what the exact scan finds: recall@10 of at least .99 (`MIN_RECALL`).

    Args:
        vectors: (ads, dimensions) float32.
        queries: (any number, dimensions) float32 to judge with, as they are asked; ads' own vectors, disturbed, if
            there are none.
        flat_ads: up to so many ads are scanned.
        max_bytes: of the vectors in memory; above that they are kept in 8 bits, if recall allows it.
        threads: cores to build graphs with; all if absent.
    """
    is_large = max_bytes is not None and vectors.nbytes > max_bytes
    kinds: Sequence[Kind] = ("flat_sq8",) if len(vectors) <= flat_ads else ("hnsw_sq8",)
    kinds = kinds if is_large else ()
    if len(vectors) > flat_ads:
        kinds = (*kinds, "hnsw")
    exact = flat_index(vectors)
    judges = _judges(vectors) if queries is None or not len(queries) else queries
    truth = exact.search(judges[:_JUDGED_QUERIES], 10)[1] if kinds else None
    for kind in kinds:
        candidate = build_index(vectors, kind, threads=threads)
        for ef in _EFS if kind.startswith("hnsw") else (None,):
            judged = FaissIndex(candidate._index, IndexCard(kind=kind, ef=ef))
            assert truth is not None  # noqa: S101  (for the type: kinds is not empty)
            found = np.concatenate(
                [judged.search(each[None], 10)[1] for each in judges[: len(truth)]]
            )
            recall = recall_of(found, truth)
            if recall >= MIN_RECALL:
                card = IndexCard(kind=kind, ef=ef, recall_at_10=round(recall, 4))
                return FaissIndex(candidate._index, card)
    return exact


def recall_of(found: NDArray[np.int64], truth: NDArray[np.int64]) -> float:
    """Return the share of `truth`, (queries, k) positions, that is in the same row of `found`."""
    hits = sum(len(np.intersect1d(*rows)) for rows in zip(found, truth, strict=True))
    return float(hits / truth.size) if truth.size else 1.0


def _judges(vectors: Vectors) -> Vectors:
    random = np.random.default_rng(0)
    rows = vectors[random.choice(len(vectors), min(_JUDGED_QUERIES, len(vectors)), replace=False)]
    noise = random.standard_normal(rows.shape).astype(np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True) / np.sqrt(rows.shape[1])
    disturbed: Vectors = rows + lengths * noise
    return disturbed


def _nothing(rows: int, k: int) -> Found:
    return np.empty((rows, k), np.float32), np.empty((rows, k), np.int64)


def write_index(folder: Path, index: FaissIndex) -> None:
    """Write `ads.faiss` into `folder`, on disk when this returns."""
    path = folder / INDEX
    index.save(path)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_index(folder: Path, card: IndexCard, shape: tuple[int, int]) -> FaissIndex:
    """Return the index that was written into `folder`; its file must have been verified.

    Raises:
        Damaged: it is not of this shape, (ads, dimensions).
    """
    path = folder / INDEX
    try:
        index = faiss.read_index(str(path))
    except RuntimeError as error:
        raise Damaged(f"{path}: not an index ({error})") from error
    if (index.ntotal, index.d) != shape:
        raise Damaged(f"{path}: {(index.ntotal, index.d)} (ads, dimensions), expected {shape}")
    return FaissIndex(index, card)


def write_vectors(folder: Path, vectors: Vectors) -> None:
    """Write `vectors.npy` into `folder`, on disk when this returns."""
    with (folder / VECTORS).open("wb") as file:
        np.save(file, vectors, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())


def read_vectors(folder: Path) -> Vectors:
    """Return the (ads, dimensions) float32 vectors in `folder`.

    Raises:
        NotFound: there is no such file.
        Damaged: it is not a two-dimensional float32 array of finite numbers.
    """
    path = folder / VECTORS
    try:
        with path.open("rb") as file:
            vectors = np.load(file, allow_pickle=False)
    except FileNotFoundError as error:
        raise NotFound(f"{path}: no ad vectors here") from error
    except (ValueError, EOFError) as error:
        raise Damaged(f"{path}: not a numpy array of numbers ({error})") from error
    reason = _fault(vectors) if isinstance(vectors, np.ndarray) else "an archive, not one array"
    if reason is not None:
        raise Damaged(f"{path}: {reason}")
    checked: Vectors = vectors
    return checked


def _fault(vectors: NDArray[np.generic]) -> str | None:
    """Say what keeps an array from being ad vectors; None if nothing does."""
    if vectors.dtype != np.float32:
        return f"type {vectors.dtype}, expected float32"
    if vectors.ndim != 2 or 0 in vectors.shape:
        return f"shape {vectors.shape}, expected (ads, dimensions), neither of them 0"
    if not np.isfinite(vectors).all():
        return "NaN or infinity among the numbers"
    return None
