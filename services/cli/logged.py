"""The event files and a data folder together: what `skim train` and `skim events` learn of what users did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
from pydantic import Field

from services.cli.console import progress_bar
from services.training.event_counts import EventCounts
from services.training.event_data import extend
from services.training.event_settings import EventSettings
from shared.clients import MappingClient
from shared.contracts.base import Contract
from shared.contracts.mapping import TrainQuery
from shared.dataset import Dataset, Query, held_out_ids
from shared.errors import Damaged, SkimError
from shared.events.files import days_of, read_day
from shared.events.privacy import erasures
from shared.events.record import stamp
from shared.settings import CommonSettings

CARD = "events.json"
"""In a data folder that has the log in it already."""
_LINES = 1_000
"""Train queries of one PUT."""


class LogSummary(Contract):
    """What was read of the event files, and what became of it."""

    until: str
    """When reading began."""
    days: int = 0
    events: int = 0
    """Each once."""
    duplicates: int = 0
    damaged: int = 0
    erased: int = 0
    of_bots: int = 0
    anonymous: int = 0
    """Without a client, where one is needed."""
    capped: int = 0
    clicks: int = 0
    """Pairs of a query and a document, like the next two."""
    impressions: int = 0
    exploration: int = 0
    queries: int = 0
    """Distinct ones."""
    new_queries: int = 0
    left_out: dict[str, int] = Field(default_factory=dict)
    """Queries that are neither known nor new, by reason."""
    unknown_documents: int = 0


@dataclass(frozen=True)
class Logged:
    """A data set with the log in it."""

    dataset: Dataset
    new: Sequence[Query]
    summary: LogSummary


def with_log(
    common: CommonSettings,
    dataset: Dataset,
    folder: Path | None,
    settings: EventSettings | None = None,
) -> Logged:
    """Return a data set with the event files in it.

    Args:
        common: says where the event files are.
        dataset: as it was read.
        folder: it was read from, whose splits hold queries out.
        settings: what of the log is learned.
    """
    settings = settings or EventSettings()
    counts, facts = _counted(common.events, settings)
    held_out = held_out_ids(folder) if folder else set[str]()
    extended = extend(dataset, counts, held_out=held_out, admission=settings.admission)
    summary = LogSummary(
        **facts,
        events=counts.events,
        of_bots=counts.of_bots,
        anonymous=counts.anonymous,
        capped=counts.capped,
        clicks=len(counts.clicks),
        impressions=len(counts.impressions),
        exploration=len(counts.drawn_clicks),
        queries=len(counts.traffic),
        new_queries=len(extended.new),
        left_out=dict(extended.left_out),
        unknown_documents=extended.unknown_documents,
    )
    return Logged(extended.dataset, extended.new, summary)


def log_in(folder: Path) -> LogSummary | None:
    """Return what `skim events export` put into a data folder; None if it is none of its making.

    Raises:
        Damaged: its card is not what was written.
    """
    path = folder / CARD
    if not path.exists():
        return None
    try:
        return LogSummary.model_validate_json(path.read_bytes())
    except ValueError as error:
        raise Damaged(f"{path}: not what `skim events export` writes") from error


def put_new(common: CommonSettings, queries: Sequence[Query]) -> int | None:
    """Make new queries train queries of the running mapping service; return how many it had not.

    None if they could not be put: another `skim train` or `skim events put` does it.
    """
    if not queries or common.metadata_side == "query":  # its train queries are titles then
        return 0
    train = [query for query in queries if query.split == "train"]
    try:
        with MappingClient(common.mapping_url, attempts=1) as client:
            return _put(client, train)
    except SkimError:
        return None


def write_card(folder: Path, summary: LogSummary) -> None:
    """Say in a data folder what of the log is in it."""
    content = orjson.dumps(summary.model_dump(), option=orjson.OPT_INDENT_2)
    (folder / CARD).write_bytes(content + b"\n")


def _put(client: MappingClient, queries: Sequence[Query]) -> int:
    added = 0
    for start in range(0, len(queries), _LINES):
        lines = [
            TrainQuery(id=each.id, text=each.text) for each in queries[start : start + _LINES]
        ]
        added += client.put_train_queries(lines).added
    return added


def _counted(folder: Path, settings: EventSettings) -> tuple[EventCounts, dict[str, str | int]]:
    now = datetime.now(UTC)
    first = f"{now - timedelta(days=settings.days - 1):%Y-%m-%d}" if settings.days else ""
    days = [day for day in days_of(folder) if day >= first]
    counts, is_erased = EventCounts(settings.caps), erasures(folder)
    duplicates = damaged = erased = 0
    with progress_bar("Reading events") as advance:
        for number, day in enumerate(days, start=1):
            found = read_day(folder, day, is_erased)
            counts.add_day(found.events)
            duplicates += found.duplicates
            damaged += found.damaged
            erased += found.erased
            advance(number, len(days))
    return counts, {
        "until": stamp(now),
        "days": len(days),
        "duplicates": duplicates,
        "damaged": damaged,
        "erased": erased,
    }
