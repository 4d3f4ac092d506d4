"""The vectors of the ads and the search over them: training writes them, inference searches them.

`AdIndex` is the port: a distributed engine may take its place. `FaissIndex` is what there is, in one process.
"""

from __future__ import annotations

import math
import os
from functools import cached_property
from pathlib import Path
from typing import Literal, Protocol, cast

import faiss
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from shared.contracts.base import Contract
from shared.disk import flush
from shared.errors import Damaged, InvalidInput
from shared.vector_files import Vectors, fault_of

INDEX = "ads.faiss"

Kind = Literal[
    "flat", "flat_fp16", "flat_sq8", "hnsw", "hnsw_fp16", "hnsw_sq8", "ivf", "ivf_fp16", "ivf_sq8"
]
Structure = Literal["flat", "hnsw", "ivf"]
Storage = Literal["fp32", "fp16", "sq8"]
_QUANTISED = {"fp16": faiss.ScalarQuantizer.QT_fp16, "sq8": faiss.ScalarQuantizer.QT_8bit}
_M, _EF_CONSTRUCTION = 32, 200
_CENTRE_ROUNDS, _ADS_PER_CENTRE = 10, 64
"""Of k-means, and how many ads a centre is found with at most: more move it little."""
_EXACT_SHARE, _EXACT_ADS = 0.1, 30_000
"""Of the ads: fewer that are allowed are scanned, one by one."""
_WIDEST_EF = 2_048
_JUDGED_K = 10
"""Ads for which a width is chosen; those that are asked for more lie in more lists."""

Found = tuple[NDArray[np.float32], NDArray[np.int64]]
"""Scores and positions, each (queries, found), best first."""


class IndexCard(Contract):
    """What an index is, and how good it was found to be."""

    kind: Kind
    """flat: every ad is compared, exact. hnsw: a graph. ivf: a list of ads around each of many centres. fp16, sq8: 16 or 8 bits a
    number instead of 32."""
    ef: int | None = Field(default=None, ge=1)
    """Neighbours a search of the graph keeps."""
    nprobe: int | None = Field(default=None, ge=1)
    """Lists that a search reads."""
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

    def search_exactly(self, queries: Vectors, k: int, allowed: Allowed | None = None) -> Found:
        """Return what `search` may approximate, by looking at every ad."""

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
        self.index = index
        self._is_graph, self._has_lists = (card.kind.startswith(each) for each in ("hnsw", "ivf"))
        self._storage = faiss.downcast_index(index.storage) if self._is_graph else index

    def __len__(self) -> int:
        return int(self.index.ntotal)

    @property
    def dimensions(self) -> int:
        """Return the length of the vectors."""
        return int(self.index.d)

    def search(self, queries: Vectors, k: int, allowed: Allowed | None = None) -> Found:
        """Return scores and ad positions, each (queries, min(k, ads that are allowed)), best first; see `AdIndex`."""
        return self._search(queries, k, allowed, self._is_graph or self._has_lists)

    def search_exactly(self, queries: Vectors, k: int, allowed: Allowed | None = None) -> Found:
        """Return what `search` may approximate, by looking at every ad; see `AdIndex`."""
        return self._search(queries, k, allowed, False)

    def vector(self, position: int) -> Vectors:
        """Return the (dimensions,) float32 vector of an ad, as exact as it is stored."""
        vector: Vectors = self._storage.reconstruct(position)
        return vector

    def save(self, path: Path) -> None:
        """Write the index, without its card."""
        faiss.write_index(self.index, str(path))

    def _search(
        self, queries: Vectors, k: int, allowed: Allowed | None, may_approximate: bool
    ) -> Found:
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
        if may_approximate and not self._is_selective(allowed):
            search = self._search_lists if self._has_lists else self._search_graph
            found = search(queries, k, allowed)
            if (found[1] >= 0).all():  # else it did not reach k that are allowed
                return found
        return self._scan(queries, k, allowed)

    def _scan(self, queries: Vectors, k: int, allowed: Allowed | None) -> Found:
        if self._has_lists:
            return self._read_lists(queries, k, allowed, self.index.nlist)
        parameters = None
        if allowed is not None:
            parameters = faiss.SearchParameters(sel=faiss.IDSelectorBitmap(allowed.bits))
        scores, positions = self._storage.search(queries, k, params=parameters)
        return scores, positions

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
        scores, positions = self.index.search(queries, k, params=parameters)
        return scores, positions

    def _search_lists(self, queries: Vectors, k: int, allowed: Allowed | None) -> Found:
        share = 1.0 if allowed is None else allowed.count / len(self)
        wider = math.sqrt(max(1.0, k / _JUDGED_K))
        lists = round((self.card.nprobe or 1) * wider / share)
        return self._read_lists(queries, k, allowed, min(lists, self.index.nlist))

    def _read_lists(self, queries: Vectors, k: int, allowed: Allowed | None, lists: int) -> Found:
        selector = None if allowed is None else faiss.IDSelectorBitmap(allowed.bits)
        parameters = faiss.SearchParametersIVF(nprobe=lists, sel=selector)
        scores, positions = self.index.search(queries, k, params=parameters)
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
    vectors: Vectors, kind: Kind, *, width: int | None = None, threads: int | None = None
) -> FaissIndex:
    """Return an index of a kind, unjudged; see `flat_index`. Built on all cores unless told, searched `width` wide."""
    reason = fault_of(vectors)
    if reason is not None:
        raise InvalidInput(f"ad vectors: {reason}")
    index = _empty(kind, len(vectors), vectors.shape[1])
    faiss.omp_set_num_threads(threads or os.cpu_count() or 1)
    vectors = np.ascontiguousarray(vectors)
    if not index.is_trained:
        index.train(vectors)
    index.add(vectors)
    return FaissIndex(index, card_of(kind, width))


def kind_of(structure: Structure, storage: Storage) -> Kind:
    """Return the kind of this structure whose vectors are stored so."""
    return cast(Kind, structure if storage == "fp32" else f"{structure}_{storage}")


def _empty(kind: Kind, ads: int, dimensions: int) -> faiss.Index:
    """Return an index of a kind, yet to be filled with so many ads."""
    structure, _, storage = kind.partition("_")
    quantised, metric = _QUANTISED.get(storage), faiss.METRIC_INNER_PRODUCT
    if structure == "flat":
        if quantised is None:
            return faiss.IndexFlatIP(dimensions)
        return faiss.IndexScalarQuantizer(dimensions, quantised, metric)
    if structure == "hnsw":
        index = (
            faiss.IndexHNSWFlat(dimensions, _M, metric)
            if quantised is None
            else faiss.IndexHNSWSQ(dimensions, quantised, _M, metric)
        )
        index.hnsw.efConstruction = _EF_CONSTRUCTION
        return index
    centres, lists = faiss.IndexFlatIP(dimensions), lists_of(ads)
    index = (
        faiss.IndexIVFFlat(centres, dimensions, lists, metric)
        if quantised is None
        else faiss.IndexIVFScalarQuantizer(centres, dimensions, lists, quantised, metric, False)
    )
    index.cp.niter, index.cp.max_points_per_centroid = _CENTRE_ROUNDS, _ADS_PER_CENTRE
    index.cp.min_points_per_centroid = 1
    index.set_direct_map_type(faiss.DirectMap.Array)  # else no ad's vector can be told
    return index


def lists_of(ads: int) -> int:
    """Return into how many lists an index of so many ads puts them."""
    return max(1, min(round(4 * math.sqrt(ads)), ads // 39))  # faiss asks for 39 a centre


def card_of(kind: Kind, width: int | None) -> IndexCard:
    """Return the card of an index that is searched `width` wide, whatever that means for its kind."""
    return IndexCard(
        kind=kind,
        ef=width if kind.startswith("hnsw") else None,
        nprobe=width if kind.startswith("ivf") else None,
    )


def _nothing(rows: int, k: int) -> Found:
    return np.empty((rows, k), np.float32), np.empty((rows, k), np.int64)


def write_index(folder: Path, index: FaissIndex) -> None:
    """Write `ads.faiss` into `folder`, on disk when this returns."""
    path = folder / INDEX
    index.save(path)
    flush(path)


def read_index(folder: Path, card: IndexCard, shape: tuple[int, int]) -> FaissIndex:
    """Return the index that was written into `folder`; its file must have been verified, and stay as it is.

    It is read where it lies (mapped): it is there at once, shares its memory with whoever maps the same file, and is let go of
    without a pause. A copy of 100,000 ads took .36 s to make and held the interpreter for 20 ms when it was freed.

    Raises:
        Damaged: it is not of this shape, (ads, dimensions).
    """
    path = folder / INDEX
    try:
        index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    except RuntimeError as error:
        raise Damaged(f"{path}: not an index ({error})") from error
    if (index.ntotal, index.d) != shape:
        raise Damaged(f"{path}: {(index.ntotal, index.d)} (ads, dimensions), expected {shape}")
    return FaissIndex(index, card)
