"""Settings of the augmentation service, its workers and its sweeper (`SKIM_AUGMENTATION_*`)."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.settings import ServerSettings


class AugmentationSettings(ServerSettings):
    """How documents are taken in and worked off."""

    model_config = SettingsConfigDict(env_prefix="SKIM_AUGMENTATION_", extra="ignore", frozen=True)

    port: int = Field(default=8103, ge=1, le=65535)
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
    sweep_seconds: float = Field(default=10.0, gt=0)
    """Pause between two looks for documents in nobody's hands."""
    sweep_documents: int = Field(default=1_000, ge=1)
    """Documents put on the queue again in one look, at most."""
    remap_documents: int = Field(default=5_000, ge=1)
    """Documents of one remap that wait at a time, at most: one of millions fills neither Redis nor the
    queue, where new documents would stand behind it. Per `sweep_seconds` no more than that are remapped."""
