"""The mapping service as a client sees it."""

from __future__ import annotations

from collections.abc import Sequence

from shared.clients.service import ServiceClient
from shared.contracts.base import Contract
from shared.contracts.mapping import (
    MappingInfo,
    MapRequest,
    MapResponse,
    TrainQueriesChanged,
    TrainQueryChanges,
)


class MappingClient(ServiceClient):
    """Asks the mapping service for train queries."""

    def map(self, request: MapRequest) -> MapResponse:
        """Return the train queries that each document's synthetic queries reach."""
        return self._call(MapResponse, "POST", "/v1/map", body=request)

    def info(self) -> MappingInfo:
        """Return what it maps with."""
        return self._call(MappingInfo, "GET", "/v1/info")

    def changes(self, since: int) -> TrainQueryChanges:
        """Return the train queries added and removed after a version."""
        return self._call(
            TrainQueryChanges, "GET", "/v1/train-queries/changes", params={"since": since}
        )

    def put_train_queries(self, queries: Sequence[Contract]) -> TrainQueriesChanged:
        """Add train queries (`TrainQuery`), or give known ids another text: all of them or none."""
        return self._call(TrainQueriesChanged, "PUT", "/v1/train-queries", lines=queries)

    def delete_train_queries(self, ids: Sequence[Contract]) -> TrainQueriesChanged:
        """Take train queries out (`TrainQueryId`)."""
        return self._call(TrainQueriesChanged, "DELETE", "/v1/train-queries", lines=ids)

    def reload(self) -> MappingInfo:
        """Let the service take the index that is on disk now."""
        return self._call(MappingInfo, "POST", "/v1/index:reload")
