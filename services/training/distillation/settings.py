"""Settings of the teacher, a large model behind an OpenAI-compatible endpoint (`SKIM_TEACHER_*`)."""

from __future__ import annotations

from typing import Literal

import httpx
from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class TeacherSettings(BaseSettings):
    """Which endpoint is asked, how, and what it charges."""

    model_config = SettingsConfigDict(
        env_prefix="SKIM_TEACHER_",
        env_parse_none_str="none",
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,  # the key is an input
    )

    base_url: str = "http://127.0.0.1:8000/v1"
    """`/chat/completions` is added to its path."""
    api_key: SecretStr = SecretStr("")
    """Sent as a bearer token; empty sends none."""
    model: str = "teacher"
    """What the endpoint calls the model."""
    concurrency: int = Field(default=8, ge=1, le=1_000)
    """Requests under way at once."""
    timeout_seconds: float = Field(default=120.0, gt=0)
    """Longest wait for one whole answer."""
    attempts: int = Field(default=6, ge=1)
    """How often one document is asked before it is left for the next run."""
    longest_wait_seconds: float = Field(default=300.0, gt=0)
    """An endpoint that asks for a longer pause than this ends the run."""
    max_tokens: int = Field(default=512, ge=1)
    """Longest answer, in tokens; a model that reasons first needs more."""
    length_parameter: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """How the endpoint calls `max_tokens`."""
    temperature: float | None = Field(default=0.7, ge=0)
    """`none` leaves it to the endpoint (some models refuse the parameter)."""
    max_document_characters: int = Field(default=8_000, ge=1)
    """Title, text and metadata past this many characters are not shown."""
    price_in: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Money for a million tokens read, in any currency."""
    price_out: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Money for a million tokens written, in the same currency."""

    @field_validator("base_url")
    @classmethod
    def _is_plain_url(cls, value: str) -> str:
        try:
            url = httpx.URL(value)
        except httpx.InvalidURL:
            url = httpx.URL("")
        if url.scheme not in {"http", "https"} or not url.host:
            raise ValueError("expected an http or https address")
        if url.userinfo:
            raise ValueError("expected no user or password; the key goes in SKIM_TEACHER_API_KEY")
        return value

    @field_validator("api_key")
    @classmethod
    def _fits_a_header(cls, value: SecretStr) -> SecretStr:
        key = value.get_secret_value().strip()
        if not all("!" <= character <= "~" for character in key):
            raise ValueError("expected printable ASCII without spaces")
        return SecretStr(key)
