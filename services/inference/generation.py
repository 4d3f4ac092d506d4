"""An opened bundle: its encoder, its ads with their index, and what it says of scores. Never changes."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import orjson
from numpy.typing import NDArray

from services.inference.columns import Columns
from services.inference.positions import AdPositions
from services.inference.rows import MappedLines, Rows
from shared.ad_index import AdIndex, flat_index, read_index
from shared.bundle import ADS, ENCODER, Manifest, verify_bundle
from shared.bundle_facts import CANARIES, LESSONS, MIN_OVERLAP, Canary, Lessons, ScoreCalibration
from shared.cold_start import ColdStart, StartParts, cold_start_of, start_parts
from shared.contracts.document import Document, MetadataValue
from shared.contracts.inference import Ad
from shared.encoder import SentenceEncoder
from shared.errors import Damaged
from shared.pace import Pace
from shared.vector_files import read_vectors

_WARM_UP_WORDS = (1, 2, 4, 8, 16, 32)
_METADATA = ColdStart()
_AT_ONCE, _BESIDE_REQUESTS = Pace(), Pace(share=0.25)
Tokens = Sequence[Sequence[int]]


class Encoder(Protocol):
    """What serving needs of `shared.encoder.SentenceEncoder`."""

    @property
    def name(self) -> str:
        """Return its id with the first digits of its sha256."""

    @property
    def dimensions(self) -> int:
        """Return the length of the vectors."""

    @property
    def may_batch(self) -> bool:
        """Say whether a text has the same vector whatever it is encoded with."""

    def tokens(self, texts: Sequence[str], *, max_tokens: int = 32) -> Tokens:
        """Return the token ids of each text."""

    def forward(self, rows: Tokens) -> NDArray[np.float32]:
        """Return (rows, dimensions) float32 unit vectors."""

    def encode(
        self, texts: Sequence[str], *, max_tokens: int = 32, batch_size: int = 32
    ) -> NDArray[np.float32]:
        """Return (texts, dimensions) float32 unit vectors, in the order given."""


class Read(NamedTuple):
    """What a new ad's vector is made of."""

    text: str
    queries: tuple[str, ...]


@dataclass(frozen=True)
class Segment:
    """Ads that are searched together. Position n of the index is row n."""

    index: AdIndex
    rows: Rows
    columns: Columns


@dataclass(frozen=True)
class Generation:
    """What answers, without what changed since it was published."""

    name: str
    encoder: Encoder
    base: Segment
    positions: Mapping[str, int]
    """Ad id -> position in `base`."""
    cold_start: ColdStart = _METADATA
    shift: NDArray[np.float32] | None = None
    """(dimensions,), see `moved`."""
    calibration: ScoreCalibration | None = None
    mixing_weight: float | None = None
    """Share of the classifiers in the vectors; None if the bundle does not say."""
    lessons: Rows | None = None
    canaries: Sequence[Canary] = ()
    """Queries of the log with the ads that they found when the bundle was made."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    encoder_files: Mapping[str, str] = field(default_factory=dict)
    """Path -> sha256; bundles of the same share the encoder."""
    serial: int = field(default_factory=count().__next__)
    """No other generation of this process has it, of whatever name."""

    @property
    def recipe(self) -> str:
        """Return a name of all that decides on where the vector of a new ad begins."""
        reading = self.cold_start
        share = f"/{reading.queries_share:g}" if reading.queries_share else ""
        return f"{self.encoder.name}/{reading.tower}/{reading.max_tokens}{share}"

    def reads(self, ad: Ad) -> Read:
        """Return what the vector of a new ad is made of."""
        queries = ad.synthetic_queries if self.cold_start.queries_share else None
        return Read(self.cold_start.text_of(ad), tuple(dict.fromkeys(queries or ())))

    def start_parts(self, read: Read) -> StartParts:
        """Return the parts, (1, dimensions) each, of the vector that a new ad begins with."""
        embedding = self.encoder.encode([read.text], max_tokens=self.cold_start.max_tokens)
        queries = np.zeros_like(embedding)
        if read.queries:
            queries += self.encoder.encode(read.queries).sum(axis=0)
        return start_parts(embedding, queries, self.cold_start.queries_share)

    def start(self, read: Read) -> NDArray[np.float32]:
        """Return the (dimensions,) vector that a new ad begins with: the same for every bundle of this recipe."""
        vector: NDArray[np.float32] = self.start_parts(read).start[0]
        return vector

    def moved(self, start: NDArray[np.float32], ad: Ad) -> NDArray[np.float32]:
        """Return the vector that a new ad has beside this bundle's trained ones.

        One with synthetic queries is moved as training moved those, on the mean; without, it would be found less.
        """
        if self.shift is None or not ad.synthetic_queries:
            return start
        return start + self.shift

    def trained(self, document: Document) -> int | None:
        """Return the position whose vector was trained on this title and text; None if there is none.

        Other metadata (a price, a stock) do not make a vector outdated.
        """
        position = self.positions.get(document.id)
        if position is None:
            return None
        known = orjson.loads(self.base.rows[position])
        is_same = known["title"] == document.title and known.get("text", "") == document.text
        return position if is_same else None

    def is_as_published(self, ad_id: str, row: bytes) -> bool:
        """Say whether the bundle has an ad with this very content, as JSON."""
        position = self.positions.get(ad_id)
        if position is None:
            return False
        if (
            self.base.rows[position].rstrip() == row
        ):  # the same letters, as most often: nothing is parsed
            return True
        published = self.document(position)
        return published.content_hash == Ad.model_validate_json(row).content_hash

    def document(self, position: int) -> Document:
        """Return an ad as the bundle has it."""
        return Document.model_validate_json(self.base.rows[position])

    def taught(self, position: int) -> Lessons | None:
        """Return what taught an ad, None if the bundle does not say."""
        if self.lessons is None:
            return None
        return Lessons.model_validate_json(self.lessons[position])

    def warm_up(self, pace: Pace = _AT_ONCE) -> None:
        """Answer one query of each length, so that no caller waits for first allocations."""
        for words in pace.each(_WARM_UP_WORDS, look=1):
            rows = self.encoder.tokens([" ".join(["word"] * words)])
            self.base.index.search(self.encoder.forward(rows), 10)


def generation_of(
    name: str,
    encoder: Encoder,
    index: AdIndex,
    rows: Rows,
    *,
    cold_start: ColdStart | None = None,
    calibration: ScoreCalibration | None = None,
    mixing_weight: float | None = None,
    lessons: Rows | None = None,
    metrics: Mapping[str, float] | None = None,
    encoder_files: Mapping[str, str] | None = None,
    pace: Pace = _AT_ONCE,
) -> Generation:
    """Return a generation of ads as JSON, one a row.

    Raises:
        Damaged: a row is no ad, an id occurs twice, or rows, index and encoder do not fit.
    """
    hashes = array("q")

    def _metadata() -> Iterator[Mapping[str, MetadataValue]]:
        for position, row in enumerate(pace.each(rows)):
            try:
                ad = orjson.loads(row)
                ad_id, _ = ad["id"], ad["title"]
            except (orjson.JSONDecodeError, KeyError, TypeError) as error:
                raise Damaged(f"bundle {name}: ad {position} is not an ad ({error!r})") from error
            hashes.append(hash(ad_id))
            yield ad.get("metadata") or {}

    columns = Columns(_metadata())
    if len(rows) != len(index) or index.dimensions != encoder.dimensions:
        raise Damaged(
            f"bundle {name}: {len(rows)} ads, {len(index)} vectors of {index.dimensions} "
            f"dimensions, an encoder of {encoder.dimensions}"
        )
    reading = cold_start or _METADATA
    if len(reading.shift) not in (0, encoder.dimensions):
        raise Damaged(
            f"bundle {name}: new ads are to be moved by {len(reading.shift)} numbers, "
            f"expected {encoder.dimensions}"
        )
    try:
        positions = AdPositions(rows, hashes)
    except Damaged as error:
        raise Damaged(f"bundle {name}: {error}") from error
    return Generation(
        name,
        encoder,
        Segment(index, rows, columns),
        positions,
        reading,
        np.array(reading.shift, dtype=np.float32) if reading.shift else None,
        calibration,
        mixing_weight,
        lessons,
        metrics=dict(metrics or {}),
        encoder_files=dict(encoder_files or {}),
    )


def open_generation(folder: Path, beside: Generation | None = None) -> Generation:
    """Verify a bundle, load it, ask it its canaries and warm it up.

    Args:
        folder: of the bundle.
        beside: what answers meanwhile: it is held up as little as may be, and gives its encoder if it is the same.

    Raises:
        NotFound: there is no bundle.
        Damaged: a file is not what its manifest says, or canaries do not find what they must.
    """
    pace = _AT_ONCE if beside is None else _BESIDE_REQUESTS
    manifest = pace.behind(partial(verify_bundle, folder))
    shape = (manifest.counts.ads, manifest.dimensions)
    index: AdIndex
    if manifest.index.kind == "flat":
        index = pace.behind(lambda: flat_index(read_vectors(folder)))
    else:
        index = pace.behind(partial(read_index, folder, manifest.index, shape))
    encoder_files = {
        path: entry.sha256
        for path, entry in manifest.files.items()
        if path.startswith(f"{ENCODER}/")
    }
    if beside is not None and beside.encoder_files == encoder_files:
        encoder = beside.encoder
    else:
        encoder = pace.behind(partial(SentenceEncoder, folder / ENCODER))
    generation = generation_of(
        manifest.version,
        encoder,
        index,
        MappedLines(folder / ADS),
        cold_start=manifest.cold_start or _old_cold_start(manifest),
        calibration=manifest.calibration,
        mixing_weight=_mixing_weight(manifest),
        lessons=MappedLines(folder / LESSONS) if LESSONS in manifest.files else None,
        metrics=manifest.metrics,
        encoder_files=encoder_files,
        pace=pace,
    )
    if CANARIES in manifest.files:
        lines = MappedLines(folder / CANARIES)
        generation = replace(
            generation, canaries=[Canary.model_validate_json(line) for line in lines]
        )
        check_canaries(generation, pace.each(generation.canaries, look=1))
    generation.warm_up(pace)
    return generation


def check_canaries(generation: Generation, canaries: Iterable[Canary]) -> float:
    """Return the share of the canaries' ads that is found.

    Raises:
        Damaged: it is too small: encoder, vectors and ads do not belong together.
    """
    overlaps = []
    for canary in canaries:
        expected = [generation.positions.get(ad_id, -1) for ad_id in canary.ads]
        vector = generation.encoder.encode([canary.query])
        _, found = generation.base.index.search(vector, len(expected))
        overlaps.append(len(np.intersect1d(found, expected)) / len(expected))
    overlap = sum(overlaps) / len(overlaps)
    if overlap < MIN_OVERLAP:
        raise Damaged(
            f"bundle {generation.name}: its canary queries find {overlap:.0%} of what they must, "
            f"expected at least {MIN_OVERLAP:.0%}"
        )
    return overlap


def _old_cold_start(manifest: Manifest) -> ColdStart:
    """Return what bundles of format 1 say among their settings."""
    return cold_start_of("title" if manifest.settings.get("tower") == "title" else "metadata")


def _mixing_weight(manifest: Manifest) -> float | None:
    weight = manifest.settings.get("mixing_weight")
    return float(weight) if isinstance(weight, int | float) else None
