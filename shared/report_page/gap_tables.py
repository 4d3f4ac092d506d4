"""The knowledge-gap report as tables and plots."""

from __future__ import annotations

from shared.report_page.gap_figures import KnowledgeGaps
from shared.report_page.plots import Plot, Series
from shared.report_page.tables import (
    NOTHING,
    Section,
    Table,
    percent,
    percent_of,
    phrases,
    whole,
    words,
)


def gap_section(gaps: KnowledgeGaps) -> Section:
    """Return the report's part about knowledge gaps."""
    return Section(
        heading="Knowledge gaps",
        notes=[
            "What the click log never showed, what augmented labels reached of it, and what nothing reached.",
            (
                "A cell is a document x a cluster of train queries. Where it holds no click, no weight on clicks "
                "can say anything about it (Lemma 1 of the paper); only knowledge from outside can."
            ),
        ],
        tables=gap_tables(gaps),
        plots=[
            _coverage_plot(gaps, "documents"),
            _coverage_plot(gaps, "queries"),
        ],
        stamp=gaps.stamp,
    )


def gap_tables(gaps: KnowledgeGaps) -> list[Table]:
    """Return the figures first, then the examples of each kind that has any."""
    tables = [_summary(gaps), _coverage(gaps)]
    examples = [_documents(gaps), _clusters(gaps), _unmapped(gaps), _hubs(gaps)]
    return tables + [table for table in examples if table.rows]


def _summary(gaps: KnowledgeGaps) -> Table:
    documents, clusters = gaps.document_gaps, gaps.cluster_gaps
    unreachable, unmapped, hubs = gaps.unreachable, gaps.unmapped, gaps.hubs
    rows = [
        ("documents", whole(gaps.documents)),
        ("train queries", whole(gaps.train_queries)),
        ("clicks", whole(gaps.clicks)),
        (
            f"augmented labels that are no clicks (tau {gaps.min_similarity:g})",
            whole(gaps.labels_added),
        ),
        ("documents without a click", percent_of(documents.without_click, gaps.documents)),
        (
            "documents without a click that labels reached",
            percent_of(documents.reached, documents.without_click),
        ),
    ]
    if documents.reached_rightly is not None:
        rows.append(
            (
                "these documents: reached by a label that the truth confirms",
                percent_of(documents.reached_rightly, documents.reached),
            )
        )
    pairs = "relevant pairs" if unreachable.basis == "truth" else "augmented labels"
    rows += [
        (
            "query clusters without a click",
            percent_of(clusters.without_click, clusters.clusters),
        ),
        (
            "query clusters without a click that labels reached",
            percent_of(clusters.reached, clusters.without_click),
        ),
        (
            f"{pairs} that no reweighting of clicks can help (no click in the cell)",
            percent_of(unreachable.in_empty_cells, unreachable.pairs),
        ),
    ]
    if unreachable.labelled is not None:
        rows.append(
            (
                "these pairs: found by labels",
                percent_of(unreachable.labelled, unreachable.in_empty_cells),
            )
        )
    rows += [
        (
            "synthetic queries that map to nothing",
            percent_of(unmapped.unmapped, unmapped.synthetic_queries),
        ),
        (
            "documents none of whose synthetic queries maps",
            percent_of(unmapped.documents, gaps.documents),
        ),
        (
            f"hubs: train queries labelled with at least {hubs.document_share:.1%} of the documents",
            percent_of(hubs.train_queries, gaps.train_queries),
        ),
        ("share of the labels that hubs hold, %", percent(hubs.label_share)),
    ]
    return Table("Knowledge gaps of the log", ["what", "how many"], rows)


def _coverage(gaps: KnowledgeGaps) -> Table:
    return Table(
        "Coverage: share of documents and of train queries with at least so many pairs, in percent",
        [
            "at least",
            *("documents: clicks", "documents: clicks + labels"),
            *("queries: clicks", "queries: clicks + labels"),
        ],
        [
            [
                whole(point.at_least),
                percent(point.documents_before),
                percent(point.documents_after),
                percent(point.queries_before),
                percent(point.queries_after),
            ]
            for point in gaps.coverage
        ],
    )


def _documents(gaps: KnowledgeGaps) -> Table:
    return Table(
        "Documents without a click that labels reached, those with most labels",
        ["document", "its most similar train query", "cosine", "labels"],
        [
            [
                words(document.title),
                words(document.query),
                f"{document.similarity:.2f}",
                whole(document.labels),
            ]
            for document in gaps.document_gaps.examples
        ],
        texts=2,
    )


def _clusters(gaps: KnowledgeGaps) -> Table:
    return Table(
        "Query clusters without a click that labels reached, those with most labels",
        ["train queries such as", "train queries", "documents", "labels"],
        [
            [
                phrases(cluster.queries),
                whole(cluster.train_queries),
                whole(cluster.documents),
                whole(cluster.labels),
            ]
            for cluster in gaps.cluster_gaps.examples
        ],
    )


def _unmapped(gaps: KnowledgeGaps) -> Table:
    return Table(
        "Demand the log never saw: synthetic queries without a train query near, the largest groups",
        ["synthetic queries such as", "synthetic queries", "documents"],
        [
            [phrases(group.queries), whole(group.synthetic_queries), whole(group.documents)]
            for group in gaps.unmapped.examples
        ],
    )


def _hubs(gaps: KnowledgeGaps) -> Table:
    return Table(
        "Train queries that absorb most documents",
        ["train query", "documents", "share of labels, %", "clicks", "precision, %"],
        [
            [
                words(hub.query),
                whole(hub.documents),
                percent(hub.label_share),
                whole(hub.clicks),
                NOTHING if hub.precision is None else percent(hub.precision),
            ]
            for hub in gaps.hubs.examples
        ],
    )


def _coverage_plot(gaps: KnowledgeGaps, side: str) -> Plot:
    at_least = [point.at_least for point in gaps.coverage]
    lines = [
        Series(name, at_least, [100 * getattr(point, f"{side}_{when}") for point in gaps.coverage])
        for name, when in (("clicks", "before"), ("clicks + labels", "after"))
    ]
    what = "documents" if side == "documents" else "train queries"
    return Plot(
        title=f"Coverage of {what}",
        description=(
            f"Of all {what}, {lines[0].y[0]:.1f} % have at least one click, and {lines[1].y[0]:.1f} % "
            "at least one click or label; the lines go on to more pairs."
        ),
        x_label="at least so many pairs",
        y_label=f"{what}, %",
        series=lines,
        is_log=True,
    )
