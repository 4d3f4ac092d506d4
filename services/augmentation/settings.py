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
    queue_seconds: int = Field(default=600, ge=1)
    """A document that lies on the queue for longer is put there again, in case its message was lost.
    Where the backlog is simply longer, that costs a message that finds nothing to do."""
    retries: int = Field(default=20, ge=0)
    """Further tries when Redis or a service is away, after growing pauses: 20 last about a quarter of
    an hour. Then the documents have failed."""
    metrics_host: str = "127.0.0.1"
    """Address where a worker shows its metrics. 0.0.0.0 in a container."""
    metrics_port: int = Field(default=8105, ge=0, le=65535)
    """Port of them; 0 shows none. Of two workers on one machine the first has it, unless told otherwise."""
    sweep_seconds: float = Field(default=10.0, gt=0)
    """Pause between two looks for documents in nobody's hands."""
    sweep_documents: int = Field(default=1_000, ge=1)
    """Documents put on the queue again in one look, at most."""
    remap_documents: int = Field(default=5_000, ge=1)
    """Documents of one remap that wait at a time, at most: one of millions fills neither Redis nor the
    queue, where new documents would stand behind it. Per `sweep_seconds` no more than that are remapped."""
