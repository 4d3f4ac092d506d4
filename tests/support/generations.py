"""Generations of a few ads without files, by the bag-of-words encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from services.inference.generation import Generation, generation_of
from services.inference.generations import Generations
from services.inference.live_ads import LiveAds, Upkeep
from shared.ad_index import build_index
from shared.bundle_facts import ScoreCalibration
from shared.cold_start import ColdStart, cold_start_of
from shared.contracts.document import Document
from shared.contracts.inference import Ad
from shared.errors import SkimError
from tests.support.encoders import BagOfWordsEncoder


def ad(
    ad_id: str, title: str | None = None, asked: list[str] | None = None, **metadata: object
) -> Ad:
    """Return an ad whose title is its id in words unless given, `asked` for by synthetic queries."""
    title = title or ad_id.replace("-", " ")
    return Ad(id=ad_id, title=title, metadata=metadata, synthetic_queries=asked)


def generation(
    name: str,
    ads: Sequence[Document],
    *,
    encoder: BagOfWordsEncoder | None = None,
    calibration: ScoreCalibration | None = None,
    mixing_weight: float | None = None,
    metrics: Mapping[str, float] | None = None,
    cold_start: ColdStart | None = None,
    kind: str = "flat",
) -> Generation:
    """Return a generation whose ads have their titles' vectors."""
    encoder = encoder or BagOfWordsEncoder()
    vectors = encoder.encode([each.title for each in ads])
    return generation_of(
        name,
        encoder,
        build_index(vectors, kind, width=64),
        [each.model_dump_json(exclude={"synthetic_queries"}).encode() for each in ads],
        cold_start=cold_start or cold_start_of("title"),
        calibration=calibration,
        mixing_weight=mixing_weight,
        metrics=metrics,
    )


class Shelf:
    """Bundles by version, without files of their own: a name on the shelf, or the reason why it cannot be opened.

    Args:
        home: folder in which bundles and ads lie.
    """

    def __init__(self, home: Path) -> None:
        self.bundles, self.ads = home / "bundles", home / "ads"
        self.bundles.mkdir(parents=True, exist_ok=True)
        self.known: dict[str, Generation | SkimError] = {}

    def put(
        self, version: str, published: Generation | SkimError, *, current: bool = False
    ) -> None:
        """Add a bundle; `current` points to it."""
        self.known[version] = published
        (self.bundles / version).mkdir(exist_ok=True)
        (self.bundles / version / "manifest.json").touch()
        if current:
            (self.bundles / "current").write_text(version)

    def open(self, folder: Path, beside: Generation | None = None) -> Generation:
        """Open a bundle, whatever is served."""
        published = self.known[folder.name]
        if isinstance(published, SkimError):
            raise published
        return published

    def generations(self, upkeep: Upkeep | None = None) -> Generations:
        """Return what serves from the shelf."""
        return Generations(self.bundles, lambda: LiveAds(self.ads, upkeep), self.open)
