"""txtai's own API over its own index (hnswlib) and ONNX vectors: `python -m loadtests.peers.inference.txtai build|serve ...`.

The setting is uvicorn's number of workers. Its answers hold ids and scores; content, which it would keep in SQLite, is off.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import uvicorn

from loadtests.peers.inference.protocol import (
    EF_CONSTRUCTION,
    ENCODER,
    Catalogue,
    M,
    Options,
    Vectors,
    Width,
    main,
    replaced,
    smallest_width,
)

_INDEX = "index"


def build(catalogue: Catalogue, folder: Path) -> Width:
    """Index vectors that are there, then name the model that made them, as if txtai had encoded the texts itself."""
    from txtai.embeddings import Embeddings  # the parent of workers that serve needs none of it

    # hnswlib's threads race while they fill a graph: one filled on two cores
    # found .9912 with the greatest width (this benchmark at 91a176f)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    graph = {"m": M, "efconstruction": EF_CONSTRUCTION}
    embeddings = Embeddings(method="external", backend="hnsw", hnsw=graph, content=False)
    embeddings.index(
        (ad, vector, None) for ad, vector in zip(catalogue.ids, catalogue.vectors, strict=True)
    )
    positions = {ad: position for position, ad in enumerate(catalogue.ids)}

    def _search(ef: int, query: Vectors) -> list[int]:
        embeddings.config["hnsw"]["efsearch"] = ef
        return [positions[ad] for ad, _ in embeddings.search(query, 10)]

    width = smallest_width(catalogue, _search)
    embeddings.save(str(folder / _INDEX))
    with replaced(folder / _INDEX / "config.json") as config:
        encoder = catalogue.folder / ENCODER
        config["method"], config["path"] = "onnx", str(encoder / "encoder.onnx")
        config["tokenizer"], config["maxlength"] = str(encoder / "tokenizer.json"), 32
        config["hnsw"] = {**graph, "efsearch": width.ef}
    return width


def serve(_: Catalogue, folder: Path, options: Options) -> None:
    """Run txtai's API under uvicorn, as its documentation says."""
    os.environ["CONFIG"] = json.dumps({"path": str(folder / _INDEX), "embeddings": {}})
    uvicorn.run(
        "txtai.api:app",
        port=options.port,
        workers=int(options.setting),
        access_log=False,
        log_level="warning",
    )


if __name__ == "__main__":
    main(build, serve, __doc__)
