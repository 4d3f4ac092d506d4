"""What of the event files training learns (`SKIM_EVENTS_*`)."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.training.event_counts import Caps
from services.training.event_data import Admission


class EventSettings(BaseSettings):
    """Which events count, and which queries of the log become train queries."""

    model_config = SettingsConfigDict(
        env_prefix="SKIM_EVENTS_", extra="ignore", frozen=True, hide_input_in_errors=True
    )

    days: int = Field(default=0, ge=0)
    """Events of so many days up to today are learned; 0: of all days that are kept."""
    pair_per_client: int = Field(default=3, ge=1)
    """Clicks, and impressions, of one client on one document for one query that count on a day."""
    client_events: int = Field(default=20_000, ge=1)
    """A client with more events on a day is taken for a bot: none of its day counts."""
    client_clicks: int = Field(default=500, ge=1)
    """So is one with more clicks."""
    query_events: int = Field(default=100_000, ge=1)
    """A query's events beyond this on a day are scaled down."""
    needs_client: bool = False
    """Whether events without a client count for nothing: right where every page names one."""
    min_clients: int = Field(default=3, ge=1)
    """A query that so many clients asked becomes a train query,"""
    min_days: int = Field(default=3, ge=1)
    """or one that was asked on so many days."""
    most_queries: int = Field(default=100_000, ge=0)
    """New train queries in all; the most frequent are taken."""
    validation_share: float = Field(default=0.0, ge=0, le=0.5)
    """Share of new queries that is validation, so that exploration can guard training on a log without held-out queries."""

    @property
    def caps(self) -> Caps:
        """Return what one client or query may count for."""
        return Caps(
            self.pair_per_client,
            self.client_events,
            self.client_clicks,
            self.query_events,
            self.needs_client,
        )

    @property
    def admission(self) -> Admission:
        """Return when a query becomes a train query."""
        return Admission(self.min_clients, self.min_days, self.most_queries, self.validation_share)
