"""What the pages read of answers. Fields they do not show are passed over, so that a service may say more."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from shared.contracts.base import Identifier
from shared.contracts.document import MetadataValue


class Read(BaseModel):
    """Part of an answer."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class ReadCounts(Read):
    """What the suite has done so far."""

    documents: int = 0
    labels: int
    accepted: int
    waiting: int
    done: int
    failed: int
    cancelled: int = 0
    dead_letters: int | None = None
    """None where the service keeps none."""


class ReadJob(Read):
    """One job."""

    id: Identifier
    kind: str = "augment"
    state: str
    accepted_at: datetime
    finished_at: datetime | None = None
    documents: int
    done: int = 0
    failed: int = 0
    cancelled: int = 0
    refused: int = 0
    labels: int = 0
    errors: dict[str, str] = Field(default_factory=dict)

    @property
    def is_over(self) -> bool:
        """Whether nothing more will become of it."""
        return self.finished_at is not None or self.state not in ("accepted", "running")

    @property
    def finished(self) -> int:
        """Documents of it that nobody works on any more."""
        return self.done + self.failed + self.cancelled


class ReadJobs(Read):
    """Jobs, the newest first."""

    jobs: list[ReadJob]
    next_cursor: str | None = None


class DeadLetter(Read):
    """A document that was given up."""

    document_id: Identifier
    job_id: str
    reason: str
    tries: int = 0
    failed_at: datetime


class DeadLetters(Read):
    """A page of them."""

    total: int
    dead_letters: list[DeadLetter]
    next_cursor: str | None = None


class Replayed(Read):
    """What became of a replay."""

    job: ReadJob | None
    left: int = 0


class Purged(Read):
    """What became of a purge."""

    purged: int


class Bundle(Read):
    """What inference answers from."""

    generation: str
    ads: int
    encoder: str
    dimensions: int
    index: str
    metrics: dict[str, float]
    ads_version: int | None = None
    changed_ads: int | None = None


class BundleSummary(Read):
    """A bundle that can be activated."""

    version: Identifier
    created_at: datetime
    ads: int
    encoder: str = ""
    metrics: dict[str, float] = Field(default_factory=dict)
    is_served: bool = False


class Bundles(Read):
    """The bundles there are, newest first."""

    served: str | None = None
    previous: str | None = None
    bundles: list[BundleSummary]

    def named(self, version: str) -> BundleSummary | None:
        """Return one of them."""
        return next((each for each in self.bundles if each.version == version), None)


class Index(Read):
    """What mapping maps with."""

    encoder: str
    train_queries: int
    rule: str = ""
    trust: str = ""
    index_version: int = 0
    """Microseconds since 1970 of its last change; 0 if unknown."""


class Ad(Read):
    """One answer to a query."""

    id: Identifier
    title: str
    score: float
    fields: dict[str, MetadataValue] | None = None


class Ads(Read):
    """The top ads of a query."""

    generation: str
    ads_version: int | None = None
    """None from a service that cannot change ads, nor filter them."""
    ads: list[Ad]
    took_ms: float

    def place_of(self, ad_id: str) -> int | None:
        """Return an ad's place, from 1."""
        return next((n for n, each in enumerate(self.ads, 1) if each.id == ad_id), None)


class ScoreParts(Read):
    """What an ad's vector is made of."""

    document_embedding: float
    classifier: float
    mixing_weight: float


class TaughtQuery(Read):
    """A query that an ad was trained on."""

    query: str
    count: float | None = None
    similarity: float | None = None


class Lessons(Read):
    """What taught an ad: some of it."""

    clicks: list[TaughtQuery] = Field(default_factory=list)
    labels: list[TaughtQuery] = Field(default_factory=list)
    synthetic_queries: list[str] = Field(default_factory=list)


class Explanation(Read):
    """Why an ad has its score."""

    id: Identifier
    score: float
    inner_product: float
    vector: str = ""
    parts: ScoreParts | None = None
    taught_by: Lessons | None = None
