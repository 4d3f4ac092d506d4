"""How the benchmark talks to a rival: `python -m MODULE build CATALOGUE FOLDER`, once, then `... serve CATALOGUE FOLDER --port N`.

A catalogue is a folder: `ads.jsonl` and `vectors.npy` (row n is ad n), `encoder/` (ours), `hidden/` (the same, without its
pooling), `judges.npy` (vectors of queries by which a graph's width is chosen). A rival that serves answers `PATH?query=&limit=`
with a JSON list of `{"id": ..., "score": ...}`, best first.

Only the standard library and numpy are used here: this module runs in every rival's own environment.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ADS, VECTORS, JUDGES = "ads.jsonl", "vectors.npy", "judges.npy"
ENCODER, HIDDEN = "encoder", "hidden"
WIDTH = "width.json"
PATH = "/search"
M, EF_CONSTRUCTION = 32, 200
"""Of every graph, ours too."""
EFS = (
    *(32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 192, 224, 256, 320, 384, 448, 512),
    *(640, 768, 1_024, 1_280, 1_536, 2_048),
)
"""Widths that are tried, by ours as well."""
K = 10
WANTED_RECALL = 0.995
"""By which a width is chosen, as ours is: then what is asked later has `MIN_RECALL`."""
MIN_RECALL = 0.99
_TOLERANCE = 1e-5

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Catalogue:
    """What is served, as files in `folder`."""

    folder: Path

    @cached_property
    def ads(self) -> list[dict[str, object]]:
        """The ads as JSON objects."""
        with (self.folder / ADS).open(encoding="utf-8") as lines:
            return [json.loads(line) for line in lines]

    @cached_property
    def ids(self) -> list[str]:
        """Of the ads."""
        return [str(ad["id"]) for ad in self.ads]

    @cached_property
    def titles(self) -> list[str]:
        """Of the ads."""
        return [str(ad["title"]) for ad in self.ads]

    @cached_property
    def vectors(self) -> Vectors:
        """(ads, dimensions) float32."""
        vectors: Vectors = np.load(self.folder / VECTORS)
        return vectors

    @cached_property
    def judges(self) -> Vectors:
        """(queries, dimensions) float32."""
        judges: Vectors = np.load(self.folder / JUDGES)
        return judges


@dataclass(frozen=True)
class Width:
    """How many neighbours a search of a graph keeps, and what it finds with them."""

    ef: int
    recall_at_10: float


def shares_found(
    vectors: Vectors, queries: Vectors, found: Sequence[Sequence[int]], k: int = K
) -> NDArray[np.float64]:
    """Return, query by query, which share of the `k` places hold an ad as good as the exact ones.

    Ads of equal score may stand for each other. An ad that is named twice counts once.

    Args:
        vectors: (ads, dimensions) float32.
        queries: (queries, dimensions) float32.
        found: positions, a row a query.
        k: places of an answer.
    """
    shares = np.zeros(len(queries))
    for row, (query, positions) in enumerate(zip(queries, found, strict=True)):
        scores = vectors @ query
        worst = np.partition(scores, -k)[-k]
        own = scores[list(dict.fromkeys(positions))[:k]]
        shares[row] = (own >= worst - _TOLERANCE * abs(worst)).sum() / k
    return shares


def smallest_width(catalogue: Catalogue, search: Callable[[int, Vectors], Sequence[int]]) -> Width:
    """Return the smallest ef of `EFS` with a recall of `WANTED_RECALL`; the widest if none has it.

    Args:
        catalogue: searched.
        search: ef and the (dimensions,) vector of a query in, positions out.
    """
    for ef in EFS:
        found = [search(ef, query) for query in catalogue.judges]
        recall = float(shares_found(catalogue.vectors, catalogue.judges, found).mean())
        if recall >= WANTED_RECALL:
            break
    return Width(ef, round(recall, 4))


def read_width(folder: Path) -> Width:
    """Return the width that was chosen for the index in `folder`."""
    return Width(**json.loads((folder / WIDTH).read_text(encoding="utf-8")))


@dataclass(frozen=True)
class Options:
    """What a rival that serves is told."""

    port: int
    setting: str
    """One of the choices among which it shows its best."""


def main(
    build: Callable[[Catalogue, Path], Width],
    serve: Callable[[Catalogue, Path, Options], None],
    description: str | None,
) -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("task", choices=("build", "serve"))
    parser.add_argument("catalogue", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--setting", default="")
    options = parser.parse_args()
    catalogue = Catalogue(options.catalogue)
    if options.task == "build":
        width = build(catalogue, options.folder)
        (options.folder / WIDTH).write_text(json.dumps(asdict(width)), encoding="utf-8")
    else:
        serve(catalogue, options.folder, Options(options.port, options.setting))


@contextmanager
def replaced(path: Path) -> Iterator[dict[str, object]]:
    """Give the JSON object in a file, and write back what becomes of it."""
    value = json.loads(path.read_text(encoding="utf-8"))
    yield value
    path.write_text(json.dumps(value), encoding="utf-8")
