"""Small documents, labels and revisions for tests of the store and of what works on it."""

from __future__ import annotations

from shared.contracts.document import Document
from shared.contracts.mapping import MappedQuery
from shared.contracts.synthetic_queries import Evidence, WrittenQueries
from shared.store import Revision


def document_of(document_id: str = "d1", text: str = "played with a reed") -> Document:
    return Document(id=document_id, title="oboe", text=text, metadata={"kind": "woodwind"})


def label_of(
    query_id: str,
    similarity: float,
    synthetic_query: str = "reed wind",
    *,
    probability: float | None = None,
) -> MappedQuery:
    return MappedQuery(
        query_id=query_id,
        query=f"text of {query_id}",
        similarity=similarity,
        synthetic_query=synthetic_query,
        rank=1,
        agreement=2,
        probability=probability,
    )


def revision_of(
    document: Document,
    *labels: MappedQuery,
    generator: str = "slm-1",
    encoder: str = "encoder-1",
    min_similarity: float = 0.6,
    policy: str = "",
    index_version: int = 0,
) -> Revision:
    return Revision(
        content_hash=document.content_hash,
        generator=generator,
        written=WrittenQueries(
            queries=["reed wind", "orchestra"], evidence=[Evidence(1.0, -0.5), Evidence(0.25)]
        ),
        encoder=encoder,
        min_similarity=min_similarity,
        neighbours=10,
        labels=labels,
        policy=policy,
        index_version=index_version,
    )
