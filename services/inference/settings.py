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
