"""`skim augment` and `skim labels`: hand documents to the running suite, take the labels out."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated

import typer

from services.cli.console import Advance, print_json, progress_bar
from services.cli.direction import labels_as_pairs, read_described
from services.cli.generate import read_synthetic_queries
from shared.clients import AugmentationClient, GenerationClient
from shared.contracts.augmentation import FINAL_STATES, Job, JobState, UploadedDocument
from shared.contracts.document import Document
from shared.contracts.synthetic_queries import SyntheticQueries
from shared.dataset import Pairs, write_lines, write_pairs, write_rows
from shared.settings import CommonSettings

_POLL_SECONDS = 0.5

labels_app = typer.Typer(help="Take augmented labels out, or map them anew.")


def augment(
    documents: Annotated[
        Path, typer.Argument(help="documents.jsonl; queries.jsonl with SKIM_METADATA_SIDE=query.")
    ],
    queries: Annotated[
        Path | None, typer.Option(help="Synthetic queries that `skim generate` wrote before.")
    ] = None,
) -> None:
    """Hand every document of a file to the running suite as one job, and wait for the labels.

    Stopped or broken off, run it again: it goes on where it was. Run again at the end it tries again what failed;
    documents that have their labels cost nothing.
    """
    common = CommonSettings()
    written = {row.document_id: row for row in read_synthetic_queries(queries)} if queries else {}
    generator = _generator_name(common) if written else ""
    with (
        AugmentationClient(common.augmentation_url) as client,
        progress_bar("Augmenting") as advance,
    ):
        job = upload_and_follow(
            client,
            lambda: read_described(documents, common),
            generator,
            written,
            advance,
            common.home / "run",
        )
    print_json(summary_of(job))
    if job.state is not JobState.DONE or job.refused:
        raise typer.Exit(1)


@labels_app.command("export")
def export(
    output: Annotated[
        Path, typer.Argument(help="File to write: query id, document id, similarity.")
    ],
) -> None:
    """Write all current labels of the running suite as a table."""
    common = CommonSettings()
    with AugmentationClient(common.augmentation_url) as client:
        labels = labels_as_pairs(labels_of(client), common)
    print_json({"output": str(output), "labels": write_pairs(output, labels)})


@labels_app.command("export-queries")
def export_queries(
    output: Annotated[
        Path, typer.Argument(help="File to write, {document_id, queries, evidence} a line.")
    ],
) -> None:
    """Write the synthetic queries that the running suite's labels were made from; .gz or .xz packs the file."""
    with AugmentationClient(CommonSettings().augmentation_url) as client:
        rows = list(client.export_synthetic_queries())
    write_rows(output, rows)
    print_json({"output": str(output), "documents": len(rows)})


@labels_app.command("remap")
def remap() -> None:
    """Map every labelled document of the running suite anew; nothing is generated."""
    with (
        AugmentationClient(CommonSettings().augmentation_url) as client,
        progress_bar("Remapping") as advance,
    ):
        job = remap_and_follow(client, advance)
    print_json(summary_of(job))
    if job.failed:
        raise typer.Exit(1)


def remap_and_follow(client: AugmentationClient, advance: Advance) -> Job:
    """Begin a remap and return its job when it is over; it takes documents in while it goes."""
    job = client.remap()
    while job.state not in FINAL_STATES:
        time.sleep(_POLL_SECONDS)
        job = client.job(job.id)
        advance(job.done + job.failed, max(job.documents, client.counts().documents))
    advance(job.done + job.failed, job.documents)
    return job


def labels_of(client: AugmentationClient) -> Pairs:
    """Return query id -> document id -> similarity of all current labels."""
    labels: Pairs = {}
    for label in client.export_labels():
        labels.setdefault(label.query_id, {})[label.document_id] = label.similarity
    return labels


def upload_and_follow(
    client: AugmentationClient,
    documents: Callable[[], Iterable[Document]],
    generator: str,
    written: Mapping[str, SyntheticQueries],
    advance: Advance,
    folder: Path,
) -> Job:
    """Hand documents in as one job, and return it when it is over.

    Args:
        client: of the augmentation service.
        documents: gives the same ones each time; any number, with distinct ids.
        generator: the name under which `written` is handed in.
        written: document id -> synthetic queries made before.
        advance: told how many documents are over.
        folder: keeps the key of an upload until its job is over, so that after a kill the same
            documents are the same job.
    """

    def lines() -> Iterator[bytes]:
        return (_line_of(each, written.get(each.id)) for each in documents())

    kept = folder / f"augment-{_digest_of(lines())[:16]}.key"
    if not kept.exists():
        write_lines(kept, [uuid.uuid4().hex])
    accepted = client.upload_documents(lines, kept.read_text().strip(), generator)
    job = _follow(client, accepted.id, advance)
    kept.unlink(missing_ok=True)
    return job


def _follow(client: AugmentationClient, job_id: str, advance: Advance) -> Job:
    while True:
        job = client.job(job_id)
        advance(job.done + job.failed, job.documents)
        if job.state in FINAL_STATES:
            return job
        time.sleep(_POLL_SECONDS)


def _line_of(document: Document, written: SyntheticQueries | None) -> bytes:
    queries = written.bare() if written else None
    uploaded = UploadedDocument(**document.model_dump(), synthetic_queries=queries)
    return uploaded.model_dump_json(exclude_none=True).encode()


def _digest_of(lines: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line)
    return digest.hexdigest()


def summary_of(job: Job) -> dict[str, object]:
    """Return what a job came to, with the reasons of what failed or was refused."""
    counts = {"documents", "unchanged", "done", "failed", "cancelled", "refused", "labels"}
    return job.model_dump(include=counts | {"errors", "refusals"})


def _generator_name(common: CommonSettings) -> str:
    with GenerationClient(common.generation_url) as client:
        return client.info().generator
