"""A suite to operate on: the real augmentation service on a memory store, the others small and stateful.

Asked in process (`transport`) or over real HTTP (`served`).
"""

from __future__ import annotations

import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import orjson
from fastapi import FastAPI

from services.augmentation.app import build_app as build_augmentation
from services.augmentation.dispatcher import Dispatcher
from services.augmentation.settings import AugmentationSettings
from shared.contracts.document import Document
from shared.contracts.mapping import MappedQuery
from shared.errors import NotFound, Unavailable
from shared.settings import CommonSettings
from shared.store import MemoryStore
from shared.web import create_app
from shared.web.server import Server
from tests.support.documents import revision_of
from tests.support.evaluations import evaluation, knowledge_gaps
from tests.support.queues import FakeQueue

HOSTILE = "<script>document.title='owned'</script>\"'><img src=x onerror=\"document.title='owned'\"> {{ 7*7 }}"
BUNDLES = ("2026-11-23-clicks", "2026-11-25-skim")
"""The second is served."""


def write_reports(home: Path) -> None:
    """Write reports where the dashboard looks for them: an evaluation, knowledge gaps, and something else."""
    folder = home / "reports"
    folder.mkdir(parents=True)
    (folder / "evaluation.json").write_bytes(orjson.dumps(evaluation()))
    (folder / "gaps.json").write_text(knowledge_gaps(HOSTILE).model_dump_json())
    (folder / "other.json").write_text("[1, 2]")


class OperatedSuite:
    """Everything an operator meets: jobs under way, done and failed, labels, dead letters, two bundles.

    Args:
        is_new: nobody has posted anything yet.
    """

    def __init__(self, *, is_new: bool = False) -> None:
        self.store = MemoryStore()
        self.served = BUNDLES[1]
        self.queries: list[str] = []
        self.is_mapping_ready = True
        if not is_new:
            self._fill()
        self.apps: dict[str, FastAPI] = {
            "generation": self._generation(),
            "mapping": self._mapping(),
            "augmentation": self._augmentation(),
            "inference": self._inference(None),
            "comparison": self._inference(BUNDLES[0]),
        }

    def common(self, **settings: Any) -> CommonSettings:  # noqa: ANN401  (any setting)
        """Return settings that lead to the services in process."""
        names = ("generation", "mapping", "augmentation", "inference")
        return CommonSettings(**({f"{name}_url": f"http://{name}" for name in names} | settings))

    def transport(self) -> httpx.AsyncBaseTransport:
        """Return what stands for the network: the host names the service."""
        return _ByHost({name: httpx.ASGITransport(app) for name, app in self.apps.items()})

    def _fill(self) -> None:
        documents = [
            Document(
                id=f"ad-{number}",
                title=f"oboe number {number}",
                text="A slender woodwind, played with a double reed.",
                metadata={"kind": "woodwind", "year": 1690 + number, "keys": ["c", "d"]},
            )
            for number in range(12)
        ]
        documents.append(
            Document(id="hostile", title=HOSTILE, text=HOSTILE, metadata={HOSTILE[:90]: HOSTILE})
        )
        self.done = self.store.accept(documents)
        for document in documents:
            labels = [
                MappedQuery(
                    query_id=f"q{rank}",
                    query=HOSTILE if document.id == "hostile" else f"double reed {rank}",
                    similarity=0.95 - rank / 10,
                    synthetic_query=HOSTILE if document.id == "hostile" else "reed instrument",
                    rank=rank,
                    agreement=2,
                    probability=0.9 - rank / 10,
                )
                for rank in (1, 2, 3)
            ]
            self.store.write_labels(
                document.id, revision_of(document, *labels, index_version=1_764_000_000_000_000)
            )
            self.store.finish_document(self.done.id, document.id, labels=len(labels))
        broken = [Document(id=f"broken-{number}", title="broken") for number in range(3)]
        self.failed = self.store.accept(broken)
        for document in broken:
            self.store.finish_document(
                self.failed.id, document.id, error=f"the SLM answered nothing {HOSTILE}"
            )
        waiting = [Document(id=f"new-{number}", title="new") for number in range(40)]
        self.running = self.store.accept(waiting)
        for document in waiting[:10]:
            self.store.finish_document(self.running.id, document.id, labels=2)

    def _augmentation(self) -> FastAPI:
        store = self.store
        dispatcher = Dispatcher(store, FakeQueue(), batch_size=100, seconds=60)
        return build_augmentation(AugmentationSettings(), store, dispatcher)

    def _generation(self) -> FastAPI:
        return _service("generation")

    def _mapping(self) -> FastAPI:
        def why_not() -> str:
            return "" if self.is_mapping_ready else f"no train-query index {HOSTILE}"

        app = _service("mapping", why_not)

        @app.get("/v1/info")
        def info() -> dict[str, Any]:
            changed = datetime.now(UTC) - timedelta(hours=3)
            return {
                "encoder": "minilm-1",
                "train_queries": 3_698,
                "rule": "preset",
                "index_version": round(changed.timestamp() * 1e6),
                "min_similarity": 0.6,
                "neighbours": 10,
            }

        return app

    def _inference(self, fixed: str | None) -> FastAPI:
        """Return a service that serves what is activated, or always the same."""
        app = _service("inference")

        def served() -> str:
            return fixed or self.served

        def info() -> dict[str, Any]:
            return {
                "generation": served(),
                "ads": 13,
                "ads_version": 4,
                "encoder": "minilm-1",
                "dimensions": 384,
                "index": "flat",
                "metrics": _metrics_of(served()),
            }

        app.get("/v1/info")(info)

        @app.get("/v1/ads")
        def ads(query: str, k: int = 10, filter: str | None = None) -> dict[str, Any]:
            self.queries.append(query)
            found = list(self.store.iterate_labels())
            ids = list(dict.fromkeys(each.document_id for each in found))
            if filter:
                ids = ids[:2]
            if served() == BUNDLES[0]:
                ids = ids[::-1]
            return {
                "query": query,
                "generation": served(),
                "ads_version": 4,
                "ads": [
                    {
                        "id": each,
                        "title": self.store.document(each).title,
                        "score": 0.9 - place / 50,
                    }
                    for place, each in enumerate(ids[:k])
                ],
                "took_ms": 4.2,
            }

        @app.get("/v1/ads/{ad_id}/explain")
        def explain(ad_id: str, query: str) -> dict[str, Any]:
            return {
                "id": ad_id,
                "query": query,
                "generation": served(),
                "ads_version": 4,
                "score": 0.9,
                "inner_product": 0.71,
                "vector": "trained",
                "parts": {"document_embedding": 0.3, "classifier": 0.41, "mixing_weight": 0.6},
                "taught_by": {
                    "clicks": [{"query": "oboe", "count": 3.0}],
                    "labels": [{"query": HOSTILE, "similarity": 0.91}],
                    "synthetic_queries": ["reed instrument"],
                    "totals": [1, 1, 1],
                },
            }

        self._add_bundles(app, served, info)
        return app

    def _add_bundles(
        self, app: FastAPI, served: Callable[[], str], info: Callable[[], dict[str, Any]]
    ) -> None:
        @app.get("/v1/bundles")
        def bundles() -> dict[str, Any]:
            return {
                "served": served(),
                "previous": next(each for each in BUNDLES if each != served()),
                "bundles": [
                    {
                        "version": version,
                        "created_at": datetime.now(UTC) - timedelta(days=2, hours=age),
                        "format_version": 2,
                        "ads": 13,
                        "encoder": "minilm-1",
                        "metrics": _metrics_of(version),
                        "is_served": version == served(),
                    }
                    for age, version in enumerate(reversed(BUNDLES))
                ],
            }

        @app.post("/v1/bundles/{version}:activate")
        def activate(version: str) -> dict[str, Any]:
            if version not in BUNDLES:
                raise NotFound(f"there is no bundle {version!r}")
            self.served = version
            return info()

        @app.post("/v1/bundles:rollback")
        def rollback() -> dict[str, Any]:
            self.served = next(each for each in BUNDLES if each != self.served)
            return info()


def _metrics_of(version: str) -> dict[str, float]:
    return {"recall@100": 0.706 if version == BUNDLES[1] else 0.601, "recall@10": 0.52}


def _service(name: str, why_not: Any = lambda: "") -> FastAPI:  # noqa: ANN401  (a callable)
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield

    async def check_ready(_: FastAPI) -> None:
        if why_not():
            raise Unavailable(why_not())

    return create_app(name, name, lifespan, check_ready=check_ready, max_body_bytes=1_000_000)


class _ByHost(httpx.AsyncBaseTransport):
    def __init__(self, transports: Mapping[str, httpx.AsyncBaseTransport]) -> None:
        self._transports = transports

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.host not in self._transports:
            raise httpx.ConnectError("refused")
        return await self._transports[request.url.host].handle_async_request(request)


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """Serve an application as in production, on a free loopback port, while the body works; yields its address."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = Server(app)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not server.started and thread.is_alive():
                threading.Event().wait(0.01)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            app.state.is_stopping = True
            server.should_exit = True
            thread.join()


@contextmanager
def all_served(apps: Mapping[str, FastAPI]) -> Iterator[dict[str, str]]:
    """Serve several applications; yields their addresses by name."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(served(app)) for name, app in apps.items()}
