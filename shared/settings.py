"""Where things are, read from the environment (`SKIM_*`). Every setting has a default that runs locally."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class CommonSettings(BaseSettings):
    """What several processes need to agree on."""

    model_config = SettingsConfigDict(env_prefix="SKIM_", extra="ignore", frozen=True)

    home: Path = Path(".skim")
    """Folder of everything SKIM writes: models, data, bundles, Redis files, logs."""
    redis_url: str = "redis://127.0.0.1:6390/0"
    """Where labels, documents and jobs are stored; also the Celery broker."""
    generation_url: str = "http://127.0.0.1:8101"
    mapping_url: str = "http://127.0.0.1:8102"
    augmentation_url: str = "http://127.0.0.1:8103"
    inference_url: str = "http://127.0.0.1:8100"
    dashboard_url: str = "http://127.0.0.1:8104"
    request_timeout_seconds: float = Field(default=120.0, gt=0)
    """Time-out of one call from service to service (generation is the slow one)."""
    metadata_side: Literal["document", "query"] = "document"
    """Which side of a pair the SLM reads. query: train queries have the metadata, the SLM writes documents' titles."""
    log_level: str = "INFO"

    @property
    def models(self) -> Path:
        """Folder of the models that `skim models build` made."""
        return self.home / "models"

    @property
    def data(self) -> Path:
        """Folder of data folders."""
        return self.home / "data"

    @property
    def mapping(self) -> Path:
        """Folder of the train-query index."""
        return self.home / "mapping"

    @property
    def bundles(self) -> Path:
        """Folder of published bundles; `current` in it names the served one."""
        return self.home / "bundles"

    @property
    def events(self) -> Path:
        """Folder of what users were shown and clicked, as the inference service was told."""
        return self.home / "events"


class ServerSettings(BaseSettings):
    """What every HTTP service has. Subclasses set the prefix `SKIM_<SERVICE>_` and the port."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True)

    host: str = "127.0.0.1"
    """Address to listen on. 0.0.0.0 in a container."""
    port: int = Field(default=8000, ge=1, le=65535)
    max_body_bytes: int = Field(default=8_000_000, gt=0)
    """A larger request body is refused with 413."""
