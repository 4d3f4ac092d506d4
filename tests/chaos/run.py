"""Runs rows, each on a suite of its own, and compares their labels with those of an undisturbed run."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from shared.contracts.document import Document
from shared.errors import SkimError
from tests.chaos.documents import document_of
from tests.chaos.judge import Labels, Verdict, judge
from tests.chaos.poster import Poster
from tests.chaos.rows import ROWS, Row
from tests.chaos.suite import Suite

Figures = dict[str, str | int | float | bool]
_SETTLE_SECONDS = 180.0


@dataclass(frozen=True)
class Outcome:
    """What a run came to."""

    accepted: Sequence[Document]
    verdict: Verdict
    faults: int
    """That met workers with documents in their hands."""
    seconds: float

    @property
    def labels(self) -> Labels:
        """All labels at the end."""
        return self.verdict.labels

    def figures(self, name: str, reference: Labels, poison: int) -> Figures:
        """Return the row."""
        verdict = self.verdict
        living = {each.id for each in self.accepted} - verdict.dead
        return {
            "name": name,
            "accepted": len(self.accepted),
            "faults": self.faults,
            "lost": verdict.lost,
            "duplicate_effects": verdict.duplicate_effects,
            "labels_equal_reference": verdict.labels
            == frozenset(each for each in reference if each[1] in living),
            "dead_letters": len(verdict.dead),
            "dead_letters_expected": poison,
            "seconds": round(self.seconds, 1),
        }


def undisturbed(documents: int, folder: Path) -> Outcome:
    """Return the run whose labels are the reference."""
    return _run(ROWS["undisturbed"], documents, folder)


def run_rows(names: Sequence[str], documents: int, folder: Path) -> Iterator[Figures]:
    """Yield the figures of rows; the reference is run first, whether it was asked for or not.

    Args:
        names: of `ROWS`.
        documents: ordinary ones of a row.
        folder: of data and logs; those of green rows are removed.
    """
    largest = max(ROWS[name].share for name in names)
    reference = undisturbed(documents * largest, folder / "undisturbed")
    for name in names:
        if name == "undisturbed":
            yield reference.figures(name, reference.labels, 0)
        else:
            yield run_row(name, ROWS[name], documents, reference.labels, folder / name)


def run_row(name: str, row: Row, documents: int, reference: Labels, folder: Path) -> Figures:
    """Return the figures of one row; its folder is removed if it is green."""
    outcome = _run(row, documents * row.share, folder)
    figures = outcome.figures(name, reference, len(row.poison))
    if is_green(figures):
        shutil.rmtree(folder)
    return figures


def is_green(figures: Figures) -> bool:
    """Whether a row is as promised."""
    return (
        figures["lost"] == figures["duplicate_effects"] == 0
        and figures["labels_equal_reference"] is True
        and figures["dead_letters"] == figures["dead_letters_expected"]
    )


def _run(row: Row, number: int, folder: Path) -> Outcome:
    documents = [document_of(each) for each in range(number)]
    middle = number // 2
    documents[middle:middle] = row.poison  # among neighbours, not in a batch of their own
    began = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    with Suite(
        folder,
        apis=row.apis,
        sweepers=row.sweepers,
        server=row.server(folder) if row.server else None,
        environment=row.environment(folder) if row.environment else None,
    ) as suite:
        lasts = row.seconds or row.times * row.seconds_per_fault
        poster = Poster(suite, documents, lasts)
        poster.start()
        try:
            faults = _disturb(suite, row)
            suite.until(lambda: not poster.is_alive(), _SETTLE_SECONDS, "not all was accepted")
            _settle(suite)
        finally:
            poster.stop()
        accepted = documents[: poster.accepted]
        return Outcome(accepted, judge(suite, accepted), faults, time.monotonic() - began)


def _disturb(suite: Suite, row: Row) -> int:
    """Return how many faults met workers with documents in their hands."""
    ends = time.monotonic() + row.seconds
    done = hits = 0
    while done < row.times or time.monotonic() < ends:
        for fault in (row.fault, *row.also):
            hits += suite.until_busy()
            fault(suite)
            suite.rest(row.pause_seconds)
        done += 1
    return hits


def _settle(suite: Suite) -> None:
    def is_settled() -> bool:
        try:
            return suite.store.counts().waiting == 0
        except SkimError:
            return False

    try:
        suite.until(is_settled, _SETTLE_SECONDS, "documents still wait")
    except SkimError:
        return  # what waits is lost, says the judge
