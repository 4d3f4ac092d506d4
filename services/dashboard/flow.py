"""The flow picture: the parts of the suite, in order, with live figures on each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.dashboard.overview import Overview, State
from services.dashboard.shown import NOTHING, duration, line, milliseconds, number, significant
from services.dashboard.troubles import Trouble


@dataclass(frozen=True)
class Figure:
    """A figure under its name."""

    name: str
    value: str


@dataclass(frozen=True)
class Part:
    """A box of the picture.

    Args:
        name: of the part.
        figures: the first is the one that tells most.
        kind: `service` runs, `thing` is made by one.
        link: the page behind it; empty without one.
        state: `ready`, or what is the matter, of a service.
        mark: `bad` or `wait` if it needs a person, else empty.
    """

    name: str
    figures: Sequence[Figure]
    kind: str = "thing"
    link: str = ""
    state: str = ""
    mark: str = ""


def flow_of(
    overview: Overview, troubles: Sequence[Trouble]
) -> tuple[Sequence[Part], Sequence[Part]]:
    """Return how documents become labels, and how bundles answer queries."""
    counts, index, bundle = overview.counts, overview.index, overview.bundle
    labels = [
        Part(
            "documents",
            [
                Figure("known", number(counts.documents if counts else None)),
                Figure("taken in", number(counts.accepted if counts else None)),
            ],
            link="/documents",
        ),
        _service(
            "augmentation",
            overview,
            troubles,
            "/jobs",
            Figure("waiting", number(counts.waiting if counts else None)),
            Figure("oldest", duration(overview.queue_age_seconds)),
            Figure("documents/s", _per_second(overview.documents_per_minute)),
        ),
        _service("generation", overview, troubles, "", *_traffic(overview, "generation")),
        _service(
            "mapping",
            overview,
            troubles,
            "",
            Figure("train queries", number(index.train_queries if index else None)),
            Figure("changed", _ago(overview.index_age_seconds)),
            *_traffic(overview, "mapping"),
        ),
        Part(
            "labels",
            [
                Figure("current", number(counts.labels if counts else None)),
                Figure("added/s", _per_second(overview.labels_per_minute)),
            ],
            link="/reviews",
        ),
    ]
    answers = [
        Part(
            "training",
            [Figure("by hand", "skim train")],
            link="/reports",
        ),
        Part(
            "bundle",
            [
                Figure("served", _served(overview)),
                Figure("made", _ago(overview.bundle_age_seconds)),
                Figure("ads", number(bundle.ads if bundle else None)),
            ],
            link="/bundles",
        ),
        _service("inference", overview, troubles, "/search", *_traffic(overview, "inference")),
    ]
    return labels, answers


def _service(
    name: str, overview: Overview, troubles: Sequence[Trouble], link: str, *figures: Figure
) -> Part:
    of_part = [each for each in troubles if each.part == name]
    mark = "bad" if any(each.is_bad for each in of_part) else "wait" if of_part else ""
    state = overview.services[name].state
    shown = "not ready" if state is State.WAITING else state.value
    if mark and state is State.READY:
        shown = "see above"
    return Part(name, figures, "service", link, shown, mark)


def _traffic(overview: Overview, name: str) -> list[Figure]:
    traffic = overview.traffic.get(name)
    figures = [
        Figure("requests/s", significant(traffic.requests_per_second if traffic else None)),
        Figure("p50", milliseconds(traffic.p50_ms if traffic else None)),
        Figure("p99", milliseconds(traffic.p99_ms if traffic else None)),
    ]
    return [*figures, Figure("errors", number(traffic.errors if traffic else None))]


def _served(overview: Overview) -> str:
    if overview.bundle is not None:
        return line(overview.bundle.generation, 60)
    return "none" if overview.services["inference"].state is State.WAITING else NOTHING


def _per_second(per_minute: float | None) -> str:
    return significant(None if per_minute is None else per_minute / 60)


def _ago(seconds: float | None) -> str:
    return duration(seconds) if seconds is None else f"{duration(seconds)} ago"
