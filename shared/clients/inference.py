"""The inference service as a client sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson

from shared.clients.service import ServiceClient
from shared.contracts.base import Contract
from shared.contracts.document import Document
from shared.contracts.events import EventsResponse
from shared.contracts.inference import (
    AdId,
    AdPatch,
    AdResponse,
    AdsChanged,
    AdsCompacted,
    AdsResponse,
    Bundles,
    Explanation,
    InferenceInfo,
)


class InferenceClient(ServiceClient):
    """Asks for ads."""

    def ads(
        self,
        query: str,
        k: int = 10,
        *,
        filter: Mapping[str, object] | None = None,
        fields: Sequence[str] = (),
    ) -> AdsResponse:
        """Return the top `k` ads of a query that match a filter, best first, with these of their fields."""
        params: dict[str, str | int] = {"query": query, "k": k}
        if filter is not None:
            params["filter"] = orjson.dumps(filter).decode()
        if fields:
            params["fields"] = ",".join(fields)
        return self._call(AdsResponse, "GET", "/v1/ads", params=params)

    def ad(self, ad_id: str) -> AdResponse:
        """Return one ad."""
        return self._call(AdResponse, "GET", f"/v1/ads/{ad_id}")

    def explain(self, ad_id: str, query: str) -> Explanation:
        """Return why an ad has its score for a query."""
        return self._call(Explanation, "GET", f"/v1/ads/{ad_id}/explain", params={"query": query})

    def put_ads(
        self, documents: Sequence[Document], *, unless_deleted: bool = False
    ) -> AdsChanged:
        """Add ads, or give known ids another content: all of them or none.

        With `unless_deleted`, what was deleted with this very content stays deleted.
        """
        return self._call(
            AdsChanged,
            "PUT",
            "/v1/ads",
            lines=documents,
            params={"unless_deleted": "true"} if unless_deleted else None,
        )

    def patch_ads(self, patches: Sequence[AdPatch]) -> AdsChanged:
        """Change parts of ads."""
        return self._call(AdsChanged, "PATCH", "/v1/ads", lines=patches)

    def delete_ads(self, ad_ids: Sequence[str]) -> AdsChanged:
        """Take ads out; no bundle brings them back."""
        return self._call(
            AdsChanged, "DELETE", "/v1/ads", lines=[AdId(id=ad_id) for ad_id in ad_ids]
        )

    def compact_ads(self) -> AdsCompacted:
        """Let the service write its journal anew, without what was changed or taken out."""
        return self._call(AdsCompacted, "POST", "/v1/ads:compact")

    def bundles(self) -> Bundles:
        """Return the bundles that can be activated."""
        return self._call(Bundles, "GET", "/v1/bundles")

    def activate(self, version: str) -> InferenceInfo:
        """Let the service verify a bundle and serve it."""
        return self._call(InferenceInfo, "POST", f"/v1/bundles/{version}:activate")

    def rollback(self) -> InferenceInfo:
        """Let the service go back to the bundle before."""
        return self._call(InferenceInfo, "POST", "/v1/bundles:rollback")

    def info(self) -> InferenceInfo:
        """Return what it answers from."""
        return self._call(InferenceInfo, "GET", "/v1/info")

    def send_events(self, events: Sequence[Contract]) -> EventsResponse:
        """Hand in events (`Event`); sending the same again is harmless."""
        return self._call(EventsResponse, "POST", "/v1/events", lines=events)

    def reload(self) -> InferenceInfo:
        """Let the service take the bundle that is published now."""
        return self._call(InferenceInfo, "POST", "/v1/bundles:reload")
