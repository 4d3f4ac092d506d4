"""A tiny catalogue, and the fake rival over it."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from loadtests.peers.inference.protocol import ADS, JUDGES, VECTORS, Catalogue
from loadtests.peers.inference.serving import Served, rival

QUERIES = [str(row) for row in range(20)]
COMMAND = [sys.executable, "-m", "tests.support.fake_rival"]


def tiny_catalogue(folder: Path, ads: int = 200) -> Catalogue:
    """Write ads whose vectors judge as well: query n is ad n."""
    vectors = np.random.default_rng(0).standard_normal((ads, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    np.save(folder / VECTORS, vectors)
    np.save(folder / JUDGES, vectors[: len(QUERIES)])
    lines = [json.dumps({"id": f"ad-{row}", "title": f"Ad {row}"}) for row in range(ads)]
    (folder / ADS).write_text("\n".join(lines) + "\n")
    return Catalogue(folder)


@contextmanager
def fake(catalogue: Catalogue, setting: str = "", *, name: str = "fake") -> Iterator[Served]:
    """Run the fake rival."""
    where = [str(catalogue.folder), str(catalogue.folder)]
    with rival(name, [*COMMAND, "serve", *where, "--setting", setting]) as served:
        yield served
