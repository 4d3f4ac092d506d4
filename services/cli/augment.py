"""`skim augment` and `skim labels`: hand documents to the running suite, take the labels out."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import orjson
import typer

from services.cli.console import Advance, print_json, progress_bar
from services.cli.direction import labels_as_pairs, read_described
from services.cli.generate import read_synthetic_queries
from shared.clients import AugmentationClient, GenerationClient
from shared.contracts.augmentation import Job, JobState, WrittenBefore
from shared.contracts.document import Document
from shared.contracts.synthetic_queries import SyntheticQueries
from shared.dataset import Pairs, write_lines, write_pairs, write_rows
from shared.errors import NotFound
from shared.settings import CommonSettings

_DOCUMENTS_PER_JOB = 200
_POLL_SECONDS = 0.5
_OVER = {JobState.DONE, JobState.PARTIAL, JobState.FAILED}

labels_app = typer.Typer(help="Take augmented labels out, or map them anew.")


def augment(
    documents: Annotated[
        Path, typer.Argument(help="documents.jsonl; queries.jsonl with SKIM_METADATA_SIDE=query.")
    ],
    queries: Annotated[
        Path | None, typer.Option(help="Synthetic queries that `skim generate` wrote before.")
    ] = None,
) -> None:
    """Post every document of a file to the running suite and wait for the labels.

    Stopped or broken off, run it again: jobs that are known are followed, not posted twice.
    """
    common = CommonSettings()
    wanted = read_described(documents, common)
    written = list(read_synthetic_queries(queries)) if queries else []
    journal = common.home / "run" / f"augment-{_digest(documents)}.jsonl"
    with (
        AugmentationClient(common.augmentation_url) as client,
        progress_bar("Augmenting") as advance,
    ):
        name = _generator_name(common) if written else ""
        jobs = post_and_follow(client, wanted, name, written, advance, journal)
    print_json(summary_of(jobs))
    if any(job.failed for job in jobs):
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
    print_json(summary_of([job]))
    if job.failed:
        raise typer.Exit(1)


def remap_and_follow(client: AugmentationClient, advance: Advance) -> Job:
    """Begin a remap and return its job when it is over; it takes documents in while it goes."""
    job = client.remap()
    while job.state not in _OVER:
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


def post_and_follow(
    client: AugmentationClient,
    documents: Sequence[Document],
    generator: str,
    written: Iterable[SyntheticQueries],
    advance: Advance,
    journal: Path,
) -> list[Job]:
    """Post documents in jobs of some hundred and return these when all are over.

    Args:
        client: of the augmentation service.
        documents: distinct ids.
        generator: the name under which `written` is handed in.
        written: synthetic queries made before, of any of the documents.
        advance: told how many documents are over.
        journal: remembers which job has which documents, for a second run.
    """
    queries = {row.document_id: row for row in written}
    known = _read_journal(journal)
    jobs: dict[str, Job] = {}
    for start in range(0, len(documents), _DOCUMENTS_PER_JOB):
        batch = documents[start : start + _DOCUMENTS_PER_JOB]
        job = _known_job(client, known.get(start))
        if job is None:
            of_batch = {each.id: queries[each.id] for each in batch if each.id in queries}
            before = WrittenBefore(generator=generator, queries=of_batch) if of_batch else None
            job = client.post_documents(batch, before)
            known[start] = job.id
            write_lines(journal, (orjson.dumps([at, each]).decode() for at, each in known.items()))
        jobs[job.id] = job
    while True:
        for job_id, job in jobs.items():
            if job.state not in _OVER:
                jobs[job_id] = client.job(job_id)
        advance(sum(job.done + job.failed for job in jobs.values()), len(documents))
        if all(job.state in _OVER for job in jobs.values()):
            return list(jobs.values())
        time.sleep(_POLL_SECONDS)


def summary_of(jobs: Sequence[Job]) -> dict[str, object]:
    """Return what the jobs came to, with the reasons of failed documents."""
    return {
        "documents": sum(job.documents for job in jobs),
        "done": sum(job.done for job in jobs),
        "failed": sum(job.failed for job in jobs),
        "labels": sum(job.labels for job in jobs),
        "errors": {document: reason for job in jobs for document, reason in job.errors.items()},
    }


def _known_job(client: AugmentationClient, job_id: str | None) -> Job | None:
    """Return a job of an earlier run if the store still has it and it can still end well."""
    if job_id is None:
        return None
    try:
        job = client.job(job_id)
    except NotFound:
        return None
    return None if job.failed else job


def _read_journal(journal: Path) -> dict[int, str]:
    if not journal.exists():
        return {}
    return dict(orjson.loads(line) for line in journal.read_bytes().splitlines())


def _generator_name(common: CommonSettings) -> str:
    with GenerationClient(common.generation_url) as client:
        return client.info().generator


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
