"""Knows which ads there were at every version, and so which answers are right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Ad = Mapping[str, Any]
"""`id`, `title` and `metadata`, as it was put."""


@dataclass
class AdsOracle:
    """One writer tells it every change; any number of answers are judged.

    Args:
        bundles: generation -> its ads.
    """

    bundles: Mapping[str, Sequence[Ad]]
    _changes: dict[int, Mapping[str, Ad | None]] = field(default_factory=lambda: {0: {}})
    latest: int = 0
    _slots: set[str] = field(default_factory=set)

    def note(self, version: int, changes: Mapping[str, Ad | None]) -> None:
        """Take what became of ads (None: deleted) in the step that led to a version."""
        self._changes[version] = {**self._changes[self.latest], **changes}
        self.latest = version

    def ads(self, generation: str, version: int) -> dict[str, Ad]:
        """Return the ads of a generation at a version."""
        merged: dict[str, Ad | None] = {ad["id"]: ad for ad in self.bundles[generation]}
        merged |= self._changes[version]
        return {ad_id: ad for ad_id, ad in merged.items() if ad is not None}

    def fault(
        self, answer: Mapping[str, Any], k: int, *, at_least: int, color: str | None = None
    ) -> str | None:
        """Say what is wrong with an answer, None if nothing is.

        Args:
            answer: of `GET /v1/ads` with `fields=color`.
            k: how many were asked for.
            at_least: the version that was acknowledged before it was asked for.
            color: that was filtered by.
        """
        generation, version = answer["generation"], answer["ads_version"]
        if generation not in self.bundles:
            return f"there is no bundle {generation!r}"
        if version < at_least:
            return f"version {version}, though {at_least} was acknowledged before"
        if version not in self._changes:
            return f"there never was a version {version}"
        ads = self.ads(generation, version)
        may = {
            ad_id: ad
            for ad_id, ad in ads.items()
            if color is None or ad["metadata"].get("color") == color
        }
        found = [each["id"] for each in answer["ads"]]
        if len(set(found)) != len(found):
            return f"an ad twice: {found}"
        if len(found) != min(k, len(may)):
            return f"{len(found)} ads, expected {min(k, len(may))} of {generation} at {version}"
        for each in answer["ads"]:
            known = may.get(each["id"])
            if known is None:
                return f"{each['id']} may not be returned by {generation} at {version}"
            if (each["title"], each["fields"]) != (known["title"], dict(known["metadata"])):
                return f"{each['id']} is {each}, expected {known}"
        scores = [each["score"] for each in answer["ads"] if "slot" not in each]
        if scores != sorted(scores, reverse=True):
            return f"not in order: {scores}"
        return self._fault_of_draws(answer["ads"], len(may))

    def _fault_of_draws(self, ads: Sequence[Mapping[str, Any]], population: int) -> str | None:
        for each in ads:
            if "slot" not in each:
                continue
            if each["propensity"] != 1 / population:
                return f"{each['id']} has propensity {each['propensity']}, expected 1/{population}"
            if each["slot"] in self._slots:
                return f"{each['id']} was drawn once and given twice"
            self._slots.add(each["slot"])
        return None

    def forget(self, before: int) -> None:
        """Drop versions that no answer can be of any more."""
        for version in [each for each in self._changes if each < before]:
            del self._changes[version]
