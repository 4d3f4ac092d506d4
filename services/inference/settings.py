"""Settings of the inference service (`SKIM_INFERENCE_*`)."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.settings import ServerSettings


class InferenceSettings(ServerSettings):
    """How many requests are worked on, how many may wait and for how long, and how changes are kept."""

    model_config = SettingsConfigDict(env_prefix="SKIM_INFERENCE_", extra="ignore", frozen=True)

    port: int = Field(default=8100, ge=1, le=65535)
    threads: int | None = Field(default=None, ge=1)
    """Queries encoded and searched at once; one a core if unset."""
    max_waiting: int = Field(default=128, ge=0)
    """Queries that may wait for a thread; the next one is refused with 503."""
    together: int = Field(default=8, ge=1, le=64)
    """Queries a thread takes at once of those that wait: to encode them together is cheaper. Nobody waits for company."""
    timeout_ms: int = Field(default=1_000, ge=1, le=60_000)
    """Longest an answer may take, unless the request says `timeout_ms`; one that would take longer, by the pace of late,
    is refused at once with 503."""
    cache_bytes: int = Field(default=32_000_000, ge=0)
    """Of answers that are kept until the ads change; 0 keeps none."""
    max_changes: int = Field(default=1_000, ge=1)
    """Ads of one PUT, PATCH or DELETE."""
    waiting_changes: int = Field(default=32, ge=0)
    """Changes that may wait for the one being made; the next one is refused with 503."""
    recent_ads: int = Field(default=2_048, ge=1)
    """Ads put since the bundle that are compared one by one; more get an index, built beside requests."""
    dead_positions: int = Field(default=10_000, ge=1)
    """Outdated vectors of ads put since the bundle that are kept before they are dropped."""
    journal_bytes: int = Field(default=16_000_000, ge=0)
    """By which the journal may outgrow twice its content before it is written anew."""
    canary_seconds: float = Field(default=600.0, ge=0)
    """Between two measurements of the index's recall against a scan of all ads; 0 measures never."""
    max_events: int = Field(default=1_000, ge=1)
    """Events of one `POST /v1/events`."""
    max_waiting_events: int = Field(default=100_000, ge=1)
    """Events that may wait for the disk; more are refused with 503."""
    event_max_age_days: int = Field(default=7, ge=1)
    """An older event is rejected."""
    event_file_bytes: int = Field(default=64_000_000, ge=1)
    """An event file is closed once it is as large."""
    event_open_seconds: float = Field(default=3_600.0, gt=0)
    """And once it was open for so long: only closed files are compacted and lose what is erased."""
    event_reserve_bytes: int = Field(default=500_000_000, ge=0)
    """Of the disk that events leave free; with less, they are refused with 503 and queries are answered on."""
    explore_share: float = Field(default=0.0, ge=0, lt=1)
    """Share of the places of answers that get an ad drawn at random, so that clicks teach what ranking never shows.
    Each answer is a little worse for it: 0.01 draws one place in a hundred."""
    explore_pool: int = Field(default=0, ge=0, le=1_000)
    """Draw from so many of the query's best ads only, 0: from all. A pool is clicked more often and shows nothing that
    ranking leaves far behind; the exploration log is then fair within the pool only."""
    explore_seed: int | None = None
    """Makes what is drawn repeatable; for tests."""
