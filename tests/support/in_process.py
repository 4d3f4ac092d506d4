"""The suite without a network: our clients reach applications in process, queued work runs at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import httpx
from fastapi.testclient import TestClient

_OF_THE_BODY_AS_SENT = {"content-encoding", "content-length", "transfer-encoding"}


class InProcess(httpx.BaseTransport):
    """Hands the requests of an `httpx.Client` to an application that a `TestClient` runs."""

    def __init__(self, app: TestClient) -> None:
        self._app = app
        self.paths: list[str] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.paths.append(request.url.path)
        answer = self._app.request(
            request.method,
            str(request.url),
            content=request.read(),
            headers=dict(request.headers),
        )
        headers = {
            name: value
            for name, value in answer.headers.items()
            if name.lower() not in _OF_THE_BODY_AS_SENT
        }
        return httpx.Response(answer.status_code, headers=headers, content=answer.content)


class ImmediateQueue:
    """Does the work of a message while it is queued, as a worker would a moment later."""

    def __init__(self, work: Callable[[str, Sequence[str]], object]) -> None:
        self._work = work

    def enqueue(self, job_id: str, document_ids: Sequence[str]) -> None:
        self._work(job_id, document_ids)

    def waiting(self) -> int:
        return 0
