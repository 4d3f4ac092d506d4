"""Settings of the augmentation service, its workers and its sweeper (`SKIM_AUGMENTATION_*`)."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.settings import ServerSettings


class AugmentationSettings(ServerSettings):
    """How documents are taken in and worked off."""

    model_config = SettingsConfigDict(env_prefix="SKIM_AUGMENTATION_", extra="ignore", frozen=True)

    port: int = Field(default=8103, ge=1, le=65535)
    ads_url: str | None = None
    """The inference service, which makes ads of augmented documents and is told of removed ones; nobody is if unset.
    While it does not answer, documents wait."""
    batch_size: int = Field(default=16, ge=1, le=64)
    """Documents of one task; generation takes at most 64."""
    workers: int = Field(default=2, ge=1)
    """Tasks a Celery worker works on at once: while one maps, another generates."""
    task_seconds: int = Field(default=300, ge=10)
    """A task is ended after this long; after nine tenths of it it is asked to."""
    memory_mb: int = Field(default=300, ge=100)
    """MiB. A worker's process larger than this is replaced after its task; one that wants twice as much gets
    an error for it, which counts as a failed try of its documents."""
    lease_seconds: float = Field(default=30.0, ge=1)
    """What is in a worker's hands is queued again this long after its process was killed. It is renewed three
    times as often while the process lives."""
    queue_seconds: int = Field(default=120, ge=1)
    """A document that lies on the queue for longer is put there again, in case its message was lost.
    Where the backlog is simply longer, that costs a message a sweep that finds nothing to do."""
    metrics_host: str = "127.0.0.1"
    """Address where a worker shows its metrics. 0.0.0.0 in a container."""
    metrics_port: int = Field(default=8105, ge=0, le=65535)
    """Port of them; 0 shows none. Of two workers on one machine the first has it, unless told otherwise."""
    worker_silent_seconds: float = Field(default=60.0, ge=5)
    """A worker whose main loop makes no rounds for so long is taken for hung; not while Redis is away."""
    sweep_seconds: float = Field(default=10.0, gt=0)
    """Pause between two looks for documents in nobody's hands."""
    sweep_documents: int = Field(default=1_000, ge=1)
    """Documents put on the queue again in one look, at most."""
    remap_documents: int = Field(default=5_000, ge=1)
    """Documents of one remap that wait at a time, at most: one of millions fills neither Redis nor the
    queue, where new documents would stand behind it. Per `sweep_seconds` no more than that are remapped."""
    idempotency_seconds: int = Field(default=86_400, ge=1)
    """How long an `Idempotency-Key` and the answer to it are remembered."""
    queue_documents: int = Field(default=5_000, ge=1)
    """Documents of an upload that are queued at once; the sweeper queues the others bit by bit, so that what
    is posted later does not stand behind all of them."""
    max_line_bytes: int = Field(default=2_000_000, ge=1_000)
    """A longer line of an upload is refused. An upload itself may have any length."""
    max_uploads: int = Field(default=32, ge=1)
    """Uploads at a time, each of which may hold a line in memory; the next is answered 503."""
    upload_chunk_bytes: int = Field(default=65_536, ge=1)
    """Of an upload that are staged in one step of Redis."""
    upload_idle_seconds: float = Field(default=30.0, gt=0)
    """An upload that brings nothing for this long is ended. Twice as long after its last step another request
    may go on with it, in case the process that held it was killed."""
    upload_keep_seconds: float = Field(default=3_600.0, gt=0)
    """An upload with an `Idempotency-Key` that broke off can be resumed for this long; then it is dropped."""
    review_seconds: float = Field(default=60.0, ge=0)
    """Between two counts of the labels that people reviewed, by verdict; 0 counts never."""
    event_seconds: float = Field(default=1.0, gt=0)
    """Pause between two looks at a job whose progress is streamed."""
    heartbeat_seconds: float = Field(default=15.0, gt=0)
    """A stream of events that has nothing to tell sends a comment this often."""
    max_event_streams: int = Field(default=100, ge=1)
    """Streams of events at a time; the next is answered 503."""
