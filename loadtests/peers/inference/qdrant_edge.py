"""Qdrant's engine in process behind FastAPI: `python -m loadtests.peers.inference.qdrant_edge build|serve ...`.

The encoder runs as ours does (one core a call, no spinning). The setting is the number of threads that answer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio.to_thread
import numpy as np
import onnxruntime as ort
import orjson
import uvicorn
from fastapi import FastAPI, Response
from qdrant_edge import (
    Distance,
    EdgeConfig,
    EdgeOptimizersConfig,
    EdgeShard,
    EdgeVectorParams,
    HnswIndexConfig,
    Memory,
    Point,
    Query,
    QueryRequest,
    SearchParams,
    UpdateOperation,
)
from tokenizers import Tokenizer

from loadtests.peers.inference.protocol import (
    EF_CONSTRUCTION,
    ENCODER,
    PATH,
    Catalogue,
    M,
    Options,
    Vectors,
    Width,
    main,
    read_width,
    smallest_width,
)

_SHARD = "shard"
_BATCH = 1_000


def build(catalogue: Catalogue, folder: Path) -> Width:
    """Put the ads into one shard of one segment and let it index them."""
    config = EdgeConfig(
        vectors=EdgeVectorParams(
            size=catalogue.vectors.shape[1], distance=Distance.Dot, memory=Memory.Cached
        ),
        hnsw_config=HnswIndexConfig(m=M, ef_construct=EF_CONSTRUCTION, full_scan_threshold=1),
        optimizers=EdgeOptimizersConfig(default_segment_number=1, indexing_threshold=1),
    )
    (folder / _SHARD).mkdir()
    shard = EdgeShard.create(str(folder / _SHARD), config)
    for start in range(0, len(catalogue.vectors), _BATCH):
        rows = range(start, min(start + _BATCH, len(catalogue.vectors)))
        points = [Point(id=row, vector=catalogue.vectors[row].tolist()) for row in rows]
        shard.update(UpdateOperation.upsert_points(points))
    shard.optimize()
    width = smallest_width(
        catalogue, lambda ef, query: [hit[0] for hit in _search(shard, ef, query, 10)]
    )
    shard.flush()
    shard.close()
    return width


def _search(shard: EdgeShard, ef: int, query: Vectors, limit: int) -> list[tuple[int, float]]:
    request = QueryRequest(
        limit=limit, query=Query.Nearest(query.tolist()), params=SearchParams(hnsw_ef=ef)
    )
    return [(point.id, point.score) for point in shard.query(request)]


class _Encoder:
    def __init__(self, folder: Path) -> None:
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(32)
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = ort.InferenceSession(
            str(folder / "encoder.onnx"), options, providers=["CPUExecutionProvider"]
        )

    def encode(self, text: str) -> Vectors:
        ids = np.array([self._tokenizer.encode(text).ids], dtype=np.int64)
        inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        vector: Vectors = self._session.run(None, inputs)[0][0]
        return vector


def serve(catalogue: Catalogue, folder: Path, options: Options) -> None:
    """Answer with ids, titles and scores."""
    app = build_app(catalogue, folder, threads=int(options.setting))
    uvicorn.run(app, host="127.0.0.1", port=options.port, access_log=False, log_level="warning")


def build_app(catalogue: Catalogue, folder: Path, *, threads: int) -> FastAPI:
    """Return the application over a shard that was built."""
    encoder = _Encoder(catalogue.folder / ENCODER)
    shard = EdgeShard.load(str(folder / _SHARD))
    search = partial(_search, shard, read_width(folder).ef)
    ids, titles = catalogue.ids, catalogue.titles

    @asynccontextmanager
    async def _lifespan(_: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = threads
        yield

    app = FastAPI(lifespan=_lifespan)

    @app.get(PATH)
    def top(query: str, limit: int = 10) -> Response:
        """Return the top ads of a query."""
        found = search(encoder.encode(query), limit)
        return Response(
            orjson.dumps(
                [{"id": ids[row], "title": titles[row], "score": score} for row, score in found]
            ),
            media_type="application/json",
        )

    return app


if __name__ == "__main__":
    main(build, serve, __doc__)
