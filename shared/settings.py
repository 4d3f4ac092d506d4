"""Where things are, read from the environment (`SKIM_*`). Every setting has a default that runs locally."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class CommonSettings(BaseSettings):
    """What several processes need to agree on."""

    model_config = SettingsConfigDict(
        env_prefix="SKIM_", extra="ignore", frozen=True, hide_input_in_errors=True
    )

    home: Path = Path(".skim")
    """Folder of everything SKIM writes: models, data, bundles, Redis files, logs."""
    redis_url: str = "redis://127.0.0.1:6390/0"
    """Where labels, documents and jobs are stored; also the Celery broker."""
    generation_url: str = "http://127.0.0.1:8101"
    """Where others reach the generation service; `skim up` starts it there."""
    mapping_url: str = "http://127.0.0.1:8102"
    """Where others reach the mapping service."""
    augmentation_url: str = "http://127.0.0.1:8103"
    """Where others reach the augmentation service."""
    inference_url: str = "http://127.0.0.1:8100"
    """Where others reach the inference service."""
    dashboard_url: str = "http://127.0.0.1:8104"
    """Where `skim up` starts the dashboard, and what it points people to."""
    request_timeout_seconds: float = Field(default=120.0, gt=0)
    """Time-out of one call from service to service (generation is the slow one)."""
    metadata_side: Literal["document", "query"] = "document"
    """Which side of a pair the SLM reads. query: train queries have the metadata, the SLM writes documents' titles."""
    log_level: str = "INFO"
    """Of the JSON lines that processes log."""
    traces_endpoint: str = Field(
        default="",
        validation_alias=AliasChoices(
            "SKIM_TRACES_ENDPOINT",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "OTEL_EXPORTER_OTLP_ENDPOINT",
        ),
    )
    """URL of an OpenTelemetry collector (OTLP over HTTP, port 4318) that takes traces; empty traces nothing."""
    auth: Literal["keys", "off"] = "keys"
    """keys: a request needs an API key. off: it needs none, and services listen on a loopback address only.
    `skim up` sets off for the parts it starts where nobody made a key."""
    keys_file: Path | None = None
    """The API keys that services take, as hashes; `keys` in the home if unset. Looked at again when it changes."""
    keys: SecretStr = SecretStr("")
    """More of them, as lines of such a file with `;` between them."""
    api_key: SecretStr = SecretStr("")
    """The key that our own clients, worker, sweeper and dashboard send; empty sends none."""
    requests_per_second: float = Field(default=2_000.0, gt=0, allow_inf_nan=False)
    """Requests of one key to one process (without keys: of one address); the next is answered 429. A key may
    have a limit of its own."""

    @field_validator("api_key")
    @classmethod
    def _fits_a_header(cls, value: SecretStr) -> SecretStr:
        key = value.get_secret_value().strip()
        if not all("!" <= character <= "~" for character in key):
            raise ValueError("expected printable ASCII without spaces")
        return SecretStr(key)

    @property
    def key_file(self) -> Path:
        """The key file, wherever it is."""
        return self.keys_file or self.home / "keys"

    @property
    def authorization(self) -> dict[str, str]:
        """The header that shows our own key, nothing without one."""
        key = self.api_key.get_secret_value()
        return {"authorization": f"Bearer {key}"} if key else {}

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
    def ads(self) -> Path:
        """Folder of what the inference service was told of ads; it outlives bundles."""
        return self.home / "ads"

    @property
    def events(self) -> Path:
        """Folder of what users were shown and clicked, as the inference service was told."""
        return self.home / "events"


class ServerSettings(BaseSettings):
    """What every HTTP service has. Subclasses set the prefix `SKIM_<SERVICE>_` and the port."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)

    host: str = "127.0.0.1"
    """Address to listen on. 0.0.0.0 in a container."""
    port: int = Field(default=8000, ge=1, le=65535)
    """Port to listen on."""
    max_body_bytes: int = Field(default=8_000_000, gt=0)
    """A larger request body is refused with 413."""
