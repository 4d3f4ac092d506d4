"""Documents become ads by themselves: the inference service is told of what was augmented, and of what was removed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from shared.contracts.document import Document
from shared.contracts.inference import Ad, AdsChanged
from shared.contracts.synthetic_queries import WrittenQueries
from shared.errors import NotFound, Unanswered, Unavailable
from shared.store import Store, Stored

_ROUNDS = 5


class TakesAds(Protocol):
    """The inference service, as far as it takes changes."""

    def put_ads(self, ads: Sequence[Ad], *, unless_deleted: bool = False) -> AdsChanged:
        """Add ads, or give known ids another content."""

    def delete_ads(self, ad_ids: Sequence[str]) -> AdsChanged:
        """Take ads out."""


class AdPublisher:
    """Keeps ads as the store has their documents. Any call may be repeated; the order of calls does not matter.

    A worker may be slow: what it publishes may have changed meanwhile, or be gone. So the store is looked at
    again afterwards, and whoever is last there has published what is there. What was deleted from the ads on
    purpose is not brought back by the content it was deleted with.

    Args:
        store: has the documents.
        ads: takes them.
    """

    def __init__(self, store: Store, ads: TakesAds) -> None:
        self._store, self._ads = store, ads

    def publish(self, written: Sequence[Stored]) -> None:
        """Make documents ads, with the synthetic queries that were written for them.

        Raises:
            Unavailable: the inference service or the store does not answer; to be called again.
        """
        generators = {each.document.id: each.generator for each in written}
        ads = [_ad_of(each.document, each.written) for each in written]
        for _ in range(_ROUNDS):
            if not ads:
                return
            try:
                self._ads.put_ads(ads, unless_deleted=True)
            except (
                Unanswered
            ) as error:  # a change of ads may be repeated, and is no document's fault
                raise Unavailable(str(error)) from error
            ads = [
                _ad_of(each, self._store.synthetic_queries(each, generators[each.id]))
                for each in self._changed(ads)
            ]
        raise Unavailable("documents change faster than they can be published")

    def withdraw(self, document_ids: Sequence[str]) -> None:
        """Take the ads of removed documents out; raises as `publish`."""
        self._ads.delete_ads(document_ids)

    def _changed(self, published: Sequence[Document]) -> list[Document]:
        """Return what changed since it was read; what is gone is taken out."""
        changed, gone = [], []
        for document in published:
            try:
                now = self._store.document(document.id)
            except NotFound:
                gone.append(document.id)
                continue
            if now.content_hash != document.content_hash:
                changed.append(now)
        if gone:
            self.withdraw(gone)
        return changed


def _ad_of(document: Document, written: WrittenQueries | None) -> Ad:
    """Return the ad; without synthetic queries where they are not written yet, which whoever writes them publishes."""
    queries = None if written is None else written.queries
    return Ad(**document.model_dump(), synthetic_queries=queries)
