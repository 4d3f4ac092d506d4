"""How the benchmark talks to a retriever's process: a folder with `job.json` in, `ranked.npy` back in it.

Only the standard library and numpy are used here: this module runs in every peer's own environment.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

JOB, RANKED = "job.json", "ranked.npy"
RANKS = 100
NOBODY = -1
"""Fills up the ranks of a query for which a peer found fewer documents."""


@dataclass(frozen=True)
class RetrievalJob:
    """What a peer may learn from, and what it is asked. Nothing of the test queries but their text."""

    documents: list[str]
    queries: list[str]
    """Train queries with a click."""
    clicks: list[tuple[int, int]]
    """(row of the query, position of the document)."""
    test_queries: list[str]

    def as_json(self) -> str:
        """Return the contents of `job.json`, the same for the same job."""
        return json.dumps(asdict(self))


def read_job(folder: Path) -> RetrievalJob:
    """Return the job in a folder."""
    read = json.loads((folder / JOB).read_text())
    clicks = [(query, document) for query, document in read.pop("clicks")]
    return RetrievalJob(clicks=clicks, **read)


def write_answer(folder: Path, ranked: Iterable[Iterable[int]]) -> None:
    """Write the document positions, best first, of each test query; whole or not at all.

    Args:
        folder: of the job.
        ranked: a row a test query; what is past `RANKS` is cut, what is missing is filled up.
    """
    rows = [list(row)[:RANKS] for row in ranked]
    filled = np.full((len(rows), RANKS), NOBODY, dtype=np.int64)
    for place, row in enumerate(rows):
        filled[place, : len(row)] = row
    new = folder / f".{os.getpid()}.npy"
    np.save(new, filled)
    new.replace(folder / RANKED)


def best_first(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the positions of each row's `RANKS` highest scores; the first of equals comes first."""
    order: NDArray[np.int64] = np.argsort(-scores, axis=1, kind="stable")[:, :RANKS]
    return order


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return what every peer is started with: FOLDER and --threads."""
    arguments = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--threads", type=int, default=1)
    return arguments


def serve(
    retrieve: Callable[[RetrievalJob, int], Iterable[Iterable[int]]], description: str | None
) -> None:
    """Do the job in the folder that the command line names.

    Args:
        retrieve: job and threads in, a row of document positions, best first, a test query out.
        description: of the peer.
    """
    options = parser(description).parse_args()
    write_answer(options.folder, retrieve(read_job(options.folder), options.threads))
