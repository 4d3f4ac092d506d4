"""The knowledge-gap report as figures: frozen, JSON-able, with examples in words."""

from __future__ import annotations

from typing import Literal

from shared.contracts.base import Contract
from shared.report_page.stamp import Stamp


class ReachedDocument(Contract):
    """A document without a click that augmentation reached."""

    title: str
    labels: int
    query: str
    """Text of its most similar train query."""
    similarity: float
    """Cosine of that label."""


class DocumentGaps(Contract):
    """Documents that no train query ever clicked."""

    without_click: int
    reached: int
    """Of those: the ones with at least one augmented label."""
    reached_rightly: int | None
    """Of those: the ones with a label that the truth confirms; None without truth."""
    examples: list[ReachedDocument]
    """Those with the most labels."""


class QueryCluster(Contract):
    """Train queries that mean about the same."""

    queries: list[str]
    """Those nearest to the centre."""
    train_queries: int
    labels: int
    documents: int
    """Distinct ones among the labels."""


class ClusterGaps(Contract):
    """Clusters of train queries in which nothing was ever clicked."""

    clusters: int
    without_click: int
    reached: int
    examples: list[QueryCluster]
    """Those with the most labels."""


class Coverage(Contract):
    """Shares with at least so many clicks (before), and clicks or labels (after)."""

    at_least: int
    documents_before: float
    documents_after: float
    queries_before: float
    """Of the train queries."""
    queries_after: float


class Unreachable(Contract):
    """Pairs whose cell, document x query cluster, holds no click: reweighting clicks cannot help them.

    A cell stands for a knowledge item of the paper's Lemma 1: where every pair of it is missing from
    the log, no weight on what is in the log says anything about it.
    """

    basis: Literal["truth", "labels"]
    """The relevant pairs of train queries, or, without truth, the augmented labels."""
    pairs: int
    in_empty_cells: int
    share: float
    labelled: int | None
    """Of those in empty cells: the ones that carry an augmented label; None without truth."""


class UnmappedGroup(Contract):
    """Synthetic queries that mean about the same and have no train query near."""

    queries: list[str]
    """Those nearest to the centre."""
    synthetic_queries: int
    documents: int
    """That they were written for."""


class Unmapped(Contract):
    """Demand the log never saw: distinct synthetic queries whose nearest train query is below tau."""

    synthetic_queries: int
    unmapped: int
    share: float
    documents: int
    """Those none of whose synthetic queries reaches a train query."""
    examples: list[UnmappedGroup]
    """The largest groups."""


class Hub(Contract):
    """A train query that absorbs many documents."""

    query: str
    documents: int
    label_share: float
    clicks: int
    precision: float | None
    """Share of its labels that is relevant; None where its truth is unknown."""


class Hubs(Contract):
    """Train queries with labels of at least `document_share` of all documents."""

    document_share: float
    train_queries: int
    label_share: float
    """Of all augmented labels: the ones they hold."""
    examples: list[Hub]
    """Those of the most documents, hubs or not."""


class KnowledgeGaps(Contract):
    """What the log never showed, and what augmentation made of it."""

    documents: int
    train_queries: int
    clicks: int
    labels_added: int
    """Augmented labels that are no clicks."""
    min_similarity: float
    """tau, as a cosine."""
    document_gaps: DocumentGaps
    cluster_gaps: ClusterGaps
    coverage: list[Coverage]
    unreachable: Unreachable
    unmapped: Unmapped
    hubs: Hubs
    stamp: Stamp = Stamp()
