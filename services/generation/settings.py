"""Settings of the generation service (`SKIM_GENERATION_*`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic_settings import SettingsConfigDict

from shared.settings import ServerSettings


class GenerationSettings(ServerSettings):
    """How the SLM is run. Why it draws several samples: services/README.md."""

    model_config = SettingsConfigDict(env_prefix="SKIM_GENERATION_", extra="ignore", frozen=True)

    port: int = Field(default=8101, ge=1, le=65535)
    threads: int = Field(default=0, ge=0)
    """Cores one decoding step may use; 0: all."""
    slots: int = Field(default=32, ge=1, le=256)
    """Completions written at the same time; 32 are the fastest on a CPU, 256 on a GPU."""
    context_tokens: int = Field(default=1152, ge=16)
    """Longest prompt plus completion, in tokens; each slot keeps room for as many."""
    temperature: float = Field(default=0.7, ge=0)
    """0 writes the likeliest completion only; then one sample is enough."""
    top_k: int = Field(default=200, ge=1)
    """Tokens a draw may choose from."""
    top_p: float = Field(default=0.95, gt=0, le=1)
    """A draw chooses from the likeliest tokens that together reach this probability."""
    max_new_tokens: int = Field(default=64, ge=1, le=4096)
    """Longest completion, in tokens (the paper's 250 leaves room for 10 long queries; ours are short)."""
    max_metadata_tokens: int = Field(default=750, ge=1)
    """Text and metadata of a document past this many tokens are not read."""
    samples: int = Field(default=4, ge=1, le=64)
    """Completions written for one document, at most the slots; more than one needs a temperature."""
    max_queries: int = Field(default=16, ge=1, le=64)
    """Most synthetic queries kept for one document: those of all samples, of most expected lines (if searched), of most samples, the likeliest."""
    train_queries: Annotated[Path | None, BeforeValidator(lambda value: value or None)] = None
    """File of train queries, {id, text} a line, or the index's folder (`SKIM_HOME/mapping`; read once, at the start): the SLM is searched
    for those that a line of its completions could have been. Without it nothing is searched."""
    min_line_probability: float = Field(default=0.1, gt=0, lt=1)
    """Lines that the SLM gives less than this are not searched for: at .05 a search costs twice as much and finds no more."""
    max_waiting: int = Field(default=256, ge=1)
    """Documents taken in and not yet answered, those being written included; a request that does not fit
    whole is answered 503."""
    timeout_seconds: float = Field(default=110.0, gt=0)
    """Longest a document may take; a request may ask for less. Below `SKIM_REQUEST_TIMEOUT_SECONDS`, so
    that who waits hears why."""

    @model_validator(mode="after")
    def _samples_fit(self) -> Self:
        if self.samples > self.slots:
            raise ValueError(
                f"samples is {self.samples}, expected at most {self.slots} (the slots)"
            )
        return self
