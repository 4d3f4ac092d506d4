"""An evaluation and a gap report with every part, made up, for tests of how they are shown."""

from __future__ import annotations

from typing import Any

from shared.report_page.gap_figures import (
    ClusterGaps,
    Coverage,
    DocumentGaps,
    Hub,
    Hubs,
    KnowledgeGaps,
    QueryCluster,
    ReachedDocument,
    Unmapped,
    UnmappedGroup,
    Unreachable,
)
from shared.report_page.stamp import Stamp

STAMP = {
    "date": "2026-11-25",
    "machine": "a machine",
    "command": "skim evaluate things --json",
    "commit": "abc123",
}


def measured(recall: float, gain: float | None = None) -> dict[str, float]:
    """Return an arm's metrics: recall@10 is half of recall@100, intervals are .02 wide."""
    row: dict[str, float] = {"precision_at_1": recall / 4}
    for name, value in (("recall_at_10", recall / 2), ("recall_at_100", recall)):
        row |= {name: value, f"{name}_low": value - 0.01, f"{name}_high": value + 0.01}
    if gain is not None:
        row |= {"gain_recall_at_100_low": gain - 0.01, "gain_recall_at_100_high": gain + 0.01}
        row["gain_recall_at_100"] = gain
    return row


def evaluation() -> dict[str, Any]:
    """Return what `skim evaluate --json` prints, a small one."""
    arms = {
        "zero_shot_title": measured(0.4),
        "clicks": measured(0.5),
        "skim": measured(0.6, 0.1),
        "an_arm_of_tomorrow": measured(0.45, -0.05),
    }
    return {
        "new_wordings": {"title_only": arms, "full": arms, "peers": {"omikuji": measured(0.3)}},
        "exposure": {
            shown: {
                "new_wordings": {
                    "title_only": {"clicks": measured(low), "skim": measured(low + 0.2)}
                }
            }
            for shown, low in (("200", 0.5), ("20", 0.3), ("50", 0.4))
        },
        "tau": [
            {"tau": 0.9, "labels": 100, "precision": 0.5, "recall": 0.1},
            {"tau": 0.6, "labels": 1000, "precision": 0.2, "recall": 0.4},
        ],
        "labels_added": 1234,
        "label_precision": 0.41,
        "label_recall": 0.2,
        "seconds": 61.2,
        "facts": {"documents": 14_130},
        **STAMP,
    }


def knowledge_gaps(text: str = "oboe") -> KnowledgeGaps:
    """Return a gap report whose every text is `text`."""
    return KnowledgeGaps(
        documents=10,
        train_queries=8,
        clicks=4,
        labels_added=20,
        min_similarity=0.6,
        document_gaps=DocumentGaps(
            without_click=6,
            reached=3,
            reached_rightly=2,
            examples=[ReachedDocument(title=text, labels=3, query=text, similarity=0.9)],
        ),
        cluster_gaps=ClusterGaps(
            clusters=3,
            without_click=1,
            reached=1,
            examples=[QueryCluster(queries=[text, text], train_queries=2, labels=3, documents=2)],
        ),
        coverage=[
            Coverage(
                at_least=1,
                documents_before=0.4,
                documents_after=0.7,
                queries_before=0.5,
                queries_after=1.0,
            )
        ],
        unreachable=Unreachable(
            basis="truth", pairs=40, in_empty_cells=30, share=0.75, labelled=12
        ),
        unmapped=Unmapped(
            synthetic_queries=50,
            unmapped=10,
            share=0.2,
            documents=1,
            examples=[UnmappedGroup(queries=[text], synthetic_queries=10, documents=4)],
        ),
        hubs=Hubs(
            document_share=0.01,
            train_queries=2,
            label_share=0.5,
            examples=[Hub(query=text, documents=6, label_share=0.3, clicks=1, precision=None)],
        ),
        stamp=Stamp(date="2026-11-24", machine="another machine", command="skim gaps x"),
    )
