"""What needs a person: the few lines that the first page has colours for."""

from __future__ import annotations

from dataclasses import dataclass

from services.dashboard.overview import Overview, State
from services.dashboard.shown import duration, number


@dataclass(frozen=True)
class Trouble:
    """Something that does not mend itself.

    Args:
        part: of the flow picture, that it is marked at.
        what: one sentence.
        link: the page that has more, or where it is mended; empty without one.
        link_text: of that link.
    """

    part: str
    what: str
    link: str = ""
    link_text: str = ""
    is_bad: bool = True


def troubles_of(overview: Overview, *, queue_age_seconds: float) -> list[Trouble]:
    """Return what needs a person now, the worst first.

    Args:
        overview: as it was read.
        queue_age_seconds: that waiting documents may have.
    """
    found = [
        Trouble(
            name,
            f"{name} is down: {each.reason}; `skim logs {name}` says why"
            if each.state is State.DOWN
            else f"{name} is not ready: {each.reason}",
            is_bad=each.state is State.DOWN,
        )
        for name, each in overview.services.items()
        if not each.is_ready
    ]
    for name, traffic in overview.traffic.items():
        if traffic and traffic.errors:
            found.append(
                Trouble(name, f"{name} answered {number(traffic.errors)} requests with an error")
            )
    counts, age = overview.counts, overview.queue_age_seconds
    if counts and counts.dead_letters:
        found.append(
            Trouble(
                "augmentation",
                f"{number(counts.dead_letters)} documents were given up",
                "/dead-letters",
                "Dead letters",
            )
        )
    elif counts and counts.dead_letters is None and counts.failed:
        found.append(
            Trouble(
                "augmentation",
                f"{number(counts.failed)} documents failed",
                "/jobs",
                "Jobs",
                is_bad=False,
            )
        )
    if age is not None and age > queue_age_seconds:
        found.append(
            Trouble(
                "augmentation",
                f"documents have waited for {duration(age)}",
                "/jobs",
                "Jobs",
                is_bad=False,
            )
        )
    return sorted(found, key=lambda each: not each.is_bad)
