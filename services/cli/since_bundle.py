"""How much changed since the published bundle was trained: what says that it is time to train again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from shared.bundle import SUITE_LABELS, current, read_manifest, trained_until
from shared.errors import Damaged, NotFound
from shared.events.record import stamp
from shared.events.tally import Tallies


@dataclass(frozen=True)
class SinceBundle:
    """What there is that the published bundle does not know."""

    bundle: str
    trained_until: str
    """When its training read the event files; when it was written, if it read none."""
    age_seconds: float
    clicks: int
    """Retries that were written twice count twice, like the next two."""
    impressions: int
    explored: int
    labels: int | None
    """The suite's labels beyond those it was trained on; below 0 if there are fewer now. None if it took none of
    the suite, or the suite does not answer."""
    cold_start_ads: int | None = None
    """Ads whose content no training has seen; None if nobody knows."""

    @property
    def line(self) -> str:
        """Return it as a sentence."""
        labels = "" if self.labels is None else f", {self.labels:+,} labels"
        if self.cold_start_ads is not None:
            labels += f", {self.cold_start_ads:,} ads that no training has seen"
        return (
            f"Since bundle {self.bundle} ({self.age_seconds / 3600:,.1f} hours): {self.clicks:,} clicks, "
            f"{self.impressions:,} impressions ({self.explored:,} events of ads drawn at random){labels}"
        )


def since_bundle(
    bundles: Path,
    events: Path,
    *,
    labels_now: int | None = None,
    cold_start_ads: int | None = None,
) -> SinceBundle | None:
    """Return what changed since the published bundle; None if none is published.

    Args:
        bundles: folder of all bundles.
        events: folder of the event files.
        labels_now: the suite's labels; None if nobody knows.
        cold_start_ads: as the inference service counts them; None if nobody knows.
    """
    until = trained_until(bundles)
    try:
        manifest = read_manifest(current(bundles))
    except (NotFound, Damaged):
        return None
    if until is None:
        return None
    trained_on = manifest.settings.get(SUITE_LABELS)
    labels = None
    if isinstance(trained_on, int) and labels_now is not None:
        labels = labels_now - trained_on
    tally = Tallies(events).since(stamp(until))
    return SinceBundle(
        bundle=manifest.version,
        trained_until=stamp(until),
        age_seconds=round((datetime.now(UTC) - until).total_seconds(), 1),
        clicks=tally.clicks,
        impressions=tally.impressions,
        explored=tally.explored,
        labels=labels,
        cold_start_ads=cold_start_ads,
    )
