"""The generation service as a client sees it."""

from __future__ import annotations

from collections.abc import Sequence

from shared.clients.service import ServiceClient
from shared.contracts.document import Document
from shared.contracts.generation import GenerateRequest, GenerateResponse, GenerationInfo

_INFO_SECONDS = 10.0


class GenerationClient(ServiceClient):
    """Asks the generation service for synthetic queries."""

    def generate(self, documents: Sequence[Document]) -> GenerateResponse:
        """Return the synthetic queries of at most 64 documents, in the order given."""
        return self._call(
            GenerateResponse,
            "POST",
            "/v1/generate",
            body=GenerateRequest(documents=list(documents)),
        )

    def info(self) -> GenerationInfo:
        """Return which SLM writes there, and how it draws tokens."""
        seconds = min(self._timeout_seconds, _INFO_SECONDS)
        return self._call(GenerationInfo, "GET", "/v1/info", timeout_seconds=seconds)
