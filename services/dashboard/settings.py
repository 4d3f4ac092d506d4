"""Settings of the dashboard (`SKIM_DASHBOARD_*`)."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.settings import ServerSettings


class DashboardSettings(ServerSettings):
    """How often the dashboard looks, how long it waits for an answer, and when it calls for a person."""

    model_config = SettingsConfigDict(env_prefix="SKIM_DASHBOARD_", extra="ignore", frozen=True)

    port: int = Field(default=8104, ge=1, le=65535)
    refresh_seconds: int = Field(default=5, ge=1)
    """An open page is brought up to date after this long; without JavaScript it loads itself again."""
    sample_seconds: float = Field(default=5.0, gt=0)
    """Pause between two samples of counts and metrics, which all rates are computed from."""
    rate_window_seconds: float = Field(default=300.0, gt=0)
    """Rates and percentiles are over this much of the past."""
    timeout_seconds: float = Field(default=1.0, gt=0)
    """A service that has not answered the overview by then counts as down."""
    page_seconds: float = Field(default=10.0, gt=0)
    """Longest that a page behind the overview waits for one answer."""
    action_seconds: float = Field(default=120.0, gt=0)
    """Longest that an action waits: activating a bundle verifies and warms it first."""
    max_streams: int = Field(default=64, ge=1)
    """Pages that may be kept up to date at the same time; the others load themselves again by hand."""
    queue_age_seconds: float = Field(default=900.0, gt=0)
    """Older waiting documents than this need a person."""
    compare_url: str = ""
    """A second inference service, which serves another bundle: the search shows both side by side."""
    max_reviewed_labels: int = Field(default=20_000, ge=1)
    """The label review draws its labels from so many of the export, at most."""
