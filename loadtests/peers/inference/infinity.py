"""infinity's engine and chroma behind a thin gateway: `python -m loadtests.peers.inference.infinity build|serve ...`.

The setting is how they are put together. servers: infinity's and chroma's own servers, asked over HTTP. embedded: both in the
gateway's process, by their Python interfaces, which spares two round trips.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import orjson
import uvicorn
from fastapi import FastAPI, Response

from loadtests.peers.inference.protocol import (
    EF_CONSTRUCTION,
    HIDDEN,
    PATH,
    Catalogue,
    M,
    Options,
    Vectors,
    Width,
    main,
    smallest_width,
)

if TYPE_CHECKING:
    from chromadb.api import ClientAPI

_STORE, _COLLECTION = "chroma", "ads"
_BATCH = 5_000
_START_SECONDS = 170.0
_BATCH_SIZE = 32
_CHROMA = "/api/v2/tenants/default_tenant/databases/default_database/collections"

Found = Sequence[tuple[int, float]]
Search = Callable[[str, int], Awaitable[Found]]


def build(catalogue: Catalogue, folder: Path) -> Width:
    """Put the vectors into one collection of chroma."""
    from chromadb.api.client import SharedSystemClient

    graph = {
        "space": "ip",
        "max_neighbors": M,
        "ef_construction": EF_CONSTRUCTION,
        "batch_size": 1_000,
        "sync_threshold": len(catalogue.ids),
    }
    collection = _client(folder).create_collection(_COLLECTION, configuration={"hnsw": graph})
    for start in range(0, len(catalogue.ids), _BATCH):
        rows = range(start, min(start + _BATCH, len(catalogue.ids)))
        collection.add(ids=[str(row) for row in rows], embeddings=catalogue.vectors[rows])
    opened: dict[int, Any] = {}

    def _search(ef: int, query: Vectors) -> list[int]:
        if ef not in opened:  # an index that is open already keeps the width it was opened with
            collection.modify(configuration={"hnsw": {"ef_search": ef}})
            SharedSystemClient.clear_system_cache()
            opened[ef] = _client(folder).get_collection(_COLLECTION)
        found = opened[ef].query(query_embeddings=[query], n_results=10, include=[])
        return [int(row) for row in found["ids"][0]]

    return smallest_width(catalogue, _search)


def serve(catalogue: Catalogue, folder: Path, options: Options) -> None:
    """Answer with ids, titles and scores."""
    together = {"servers": _servers, "embedded": _embedded}[options.setting]
    app = build_app(catalogue, lambda stack: together(catalogue, folder, stack))
    uvicorn.run(app, host="127.0.0.1", port=options.port, access_log=False, log_level="warning")


def build_app(
    catalogue: Catalogue, put_together: Callable[[AsyncExitStack], Awaitable[Search]]
) -> FastAPI:
    """Return the gateway over a search that `put_together` opens and its stack closes."""
    ids, titles = catalogue.ids, catalogue.titles
    parts: dict[str, Search] = {}

    @asynccontextmanager
    async def _lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            parts["search"] = await put_together(stack)
            yield

    app = FastAPI(lifespan=_lifespan)

    @app.get(PATH)
    async def top(query: str, limit: int = 10) -> Response:
        """Return the top ads of a query."""
        found = await parts["search"](query, limit)
        return Response(
            orjson.dumps(
                [{"id": ids[row], "title": titles[row], "score": score} for row, score in found]
            ),
            media_type="application/json",
        )

    return app


async def _embedded(catalogue: Catalogue, folder: Path, stack: AsyncExitStack) -> Search:
    from infinity_emb import AsyncEmbeddingEngine, EngineArgs  # the gateway to servers is thin
    from infinity_emb.primitives import PoolingMethod

    engine = AsyncEmbeddingEngine.from_args(
        EngineArgs(
            model_name_or_path=str(catalogue.folder / HIDDEN),
            engine="optimum",
            device="cpu",
            batch_size=_BATCH_SIZE,
            pooling_method=PoolingMethod.mean,
            lengths_via_tokenize=False,
            model_warmup=False,  # with batches longer than any query; the benchmark warms everyone up
            onnx_disable_optimize=True,  # onnxruntime does it again while loading
        )
    )
    await stack.enter_async_context(engine)
    collection = _client(folder).get_collection(_COLLECTION)

    def _query(vector: Vectors, limit: int) -> Found:
        return _found(
            collection.query(query_embeddings=[vector], n_results=limit, include=["distances"])
        )

    async def _search(query: str, limit: int) -> Found:
        vectors, _ = await engine.embed([query])
        return await asyncio.to_thread(_query, vectors[0], limit)

    return _search


async def _servers(catalogue: Catalogue, folder: Path, stack: AsyncExitStack) -> Search:
    model = str(catalogue.folder / HIDDEN)
    encoder, store = _free_port(), _free_port()
    binaries = Path(sys.executable).parent
    for command in (
        [
            *(str(binaries / "infinity_emb"), "v2", "--model-id", model),
            *("--engine", "optimum", "--device", "cpu", "--batch-size", str(_BATCH_SIZE)),
            *("--host", "127.0.0.1", "--port", str(encoder), "--log-level", "warning"),
            *("--no-lengths-via-tokenize", "--served-model-name", "encoder"),
            *("--pooling-method", "mean", "--onnx-disable-optimize", "--no-model-warmup"),
        ],
        [
            *(str(binaries / "chroma"), "run", "--path", str(folder / _STORE)),
            *("--host", "127.0.0.1", "--port", str(store)),
        ],
    ):
        process = subprocess.Popen(command)  # noqa: ASYNC220, S603
        stack.callback(process.terminate)
    session = await stack.enter_async_context(
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), headers={"content-type": "application/json"}
        )
    )
    collections = f"http://127.0.0.1:{store}{_CHROMA}"
    embeddings = f"http://127.0.0.1:{encoder}/embeddings"
    await _ready(session, f"http://127.0.0.1:{encoder}/health")
    await _ready(session, f"http://127.0.0.1:{store}/api/v2/heartbeat")
    collection = (await _json(session.get(f"{collections}/{_COLLECTION}")))["id"]

    async def _search(query: str, limit: int) -> Found:
        asked = {"model": "encoder", "input": [query]}
        encoded = await _json(session.post(embeddings, data=orjson.dumps(asked)))
        body = {
            "query_embeddings": [encoded["data"][0]["embedding"]],
            "n_results": limit,
            "include": ["distances"],
        }
        answer = session.post(f"{collections}/{collection}/query", data=orjson.dumps(body))
        return _found(await _json(answer))

    return _search


def _found(answer: Mapping[str, list[list[Any]]]) -> Found:
    """Return rows and scores of chroma's first answer; its distance is 1 less the inner product."""
    return [
        (int(row), 1.0 - distance)
        for row, distance in zip(answer["ids"][0], answer["distances"][0], strict=True)
    ]


async def _json(request: AbstractAsyncContextManager[aiohttp.ClientResponse]) -> dict[str, Any]:
    async with request as answer:
        answer.raise_for_status()
        value: dict[str, Any] = orjson.loads(await answer.read())
        return value


async def _ready(session: aiohttp.ClientSession, url: str) -> None:
    ends = time.monotonic() + _START_SECONDS
    while True:
        try:
            async with session.get(url) as answer:
                if answer.ok:
                    return
        except aiohttp.ClientError:
            if time.monotonic() > ends:
                raise
        await asyncio.sleep(0.2)


def _client(folder: Path) -> ClientAPI:
    import chromadb
    from chromadb.config import Settings

    return chromadb.PersistentClient(
        str(folder / _STORE), settings=Settings(anonymized_telemetry=False)
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    main(build, serve, __doc__)
