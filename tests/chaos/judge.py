"""What became of the documents: read from the store and the labels, when nothing moves any more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shared.contracts.augmentation import ExportedLabel, JobKind
from shared.contracts.document import Document
from shared.store import keys
from tests.chaos.suite import Suite

Labels = frozenset[tuple[str, str, float]]
_MARKS_OF_A_REVISION = 5
_MANY = 1_000_000


@dataclass(frozen=True)
class Verdict:
    """What a suite made of its documents."""

    lost: int
    """Accepted, and neither labelled nor a dead letter."""
    duplicate_effects: int
    labels: Labels
    dead: frozenset[str]


def judge(suite: Suite, documents: Sequence[Document]) -> Verdict:
    """Return the verdict on accepted documents."""
    store = suite.store
    dead = frozenset(each.document_id for each in store.dead_letters(_MANY).dead_letters)
    exported = list(store.iterate_labels())
    labelled = {each.document_id for each in exported}
    return Verdict(
        lost=sum(each.id not in labelled and each.id not in dead for each in documents),
        duplicate_effects=_duplicates(suite, documents, exported),
        labels=frozenset((each.query_id, each.document_id, each.similarity) for each in exported),
        dead=dead,
    )


def _duplicates(
    suite: Suite, documents: Sequence[Document], exported: Sequence[ExportedLabel]
) -> int:
    """Count what is there twice, or was counted twice."""
    counts, client = suite.store.counts(), suite.client
    found = abs(counts.accepted - counts.done - counts.failed - counts.waiting)
    found += abs(counts.labels - len(exported))
    found += len(exported) - len({(each.query_id, each.document_id) for each in exported})
    for job in suite.store.jobs(_MANY)[0]:
        found += max(0, job.done + job.failed - job.documents)
        found += (
            job.kind is JobKind.REMAP
        )  # nothing was mapped before: nothing has to be mapped anew
    for each in documents:
        written: Any = client.hlen(keys.SYNTHETIC + each.id)
        found += max(0, written - 1)
    labels = _sizes(suite, keys.LABELS, "zcard")
    reasons = _sizes(suite, keys.PROVENANCE, "hlen")
    found += sum(
        max(0, size - _MARKS_OF_A_REVISION - labels.get(at, 0)) for at, size in reasons.items()
    )
    found += len(reasons) - len({at.partition(":")[0] for at in reasons})  # a revision left behind
    return found


def _sizes(suite: Suite, prefix: str, size: str) -> dict[str, int]:
    names: Any = suite.client.scan_iter(f"{prefix}*", count=1_000)
    return {name.removeprefix(prefix): int(getattr(suite.client, size)(name)) for name in names}
