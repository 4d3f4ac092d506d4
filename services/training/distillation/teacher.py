"""Asks a teacher: one request to an OpenAI-compatible chat endpoint, and what came of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self

import httpx
from pydantic import BaseModel, Field, ValidationError, field_validator

from services.training.distillation.settings import TeacherSettings
from shared.errors import SkimError, Unavailable

Message = Mapping[str, str]
"""{"role": system, user or assistant, "content": text}"""

_REFUSES_THE_KEY = {401, 403}
_MAY_STILL_CHARGE = {408, 502, 504}
"""Whoever answered this did not hear how the model's work ended."""
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_LONGEST_DETAIL = 200
_MOST_TOKENS = 100_000_000
"""No call has more: such a count is garbage."""


class TryLater(Unavailable):
    """The endpoint does not answer now; asking again may help.

    Args:
        message: what happened, without the key.
        wait_seconds: how long the endpoint asks us to wait, None if it does not say.
        is_free: whether the call cannot have been charged.
    """

    def __init__(self, message: str, *, wait_seconds: float | None, is_free: bool) -> None:
        super().__init__(message)
        self.wait_seconds = wait_seconds
        self.is_free = is_free


@dataclass(frozen=True)
class Reply:
    """What a call brought. Token counts are None where the endpoint does not say."""

    text: str
    """Empty if there is none: not a chat completion, or the model declined."""
    is_finished: bool
    """False when the model ran out of tokens."""
    remark: str
    """The start of the text or of whatever came in its place, for a reader; without the key."""
    tokens_in: int | None
    tokens_out: int | None


class TeacherClient:
    """A connection pool to a chat endpoint. The key is in a header and nowhere else.

    Args:
        settings: endpoint, key, model and limits.
        now: the time in unix seconds, for a Retry-After that is a date.
        transport: replaces the network, for tests.
    """

    def __init__(
        self,
        settings: TeacherSettings,
        *,
        now: Callable[[], float] = time.time,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._settings = settings
        self._key = settings.api_key.get_secret_value()
        self._now = now
        base = httpx.URL(settings.base_url)
        self._url = base.copy_with(path=base.path.rstrip("/") + "/chat/completions")
        self._name = f"teacher at {self._url.copy_with(query=None, fragment=None)}"
        self._http = httpx.AsyncClient(
            headers={"authorization": f"Bearer {self._key}"} if self._key else None,
            timeout=settings.timeout_seconds,
            limits=httpx.Limits(max_connections=settings.concurrency),
            transport=transport,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._http.aclose()

    async def ask(self, messages: Sequence[Message]) -> Reply:
        """Send one request.

        Raises:
            TryLater: no answer in time, a broken connection, 408, 429 or 5xx.
            SkimError: any other status that is no success: asking again would not help.
        """
        settings = self._settings
        body = {
            "model": settings.model,
            "messages": list(messages),
            settings.length_parameter: settings.max_tokens,
        }
        if settings.temperature is not None:
            body["temperature"] = settings.temperature
        try:
            # httpx's time-out is for one read: an answer that drips would never end
            async with asyncio.timeout(settings.timeout_seconds):
                response = await self._http.post(self._url, json=body)
        except TimeoutError as error:
            raise self._no_answer("time-out", is_free=False) from error
        except httpx.RequestError as error:
            reason = f"{type(error).__name__} {error}".strip()
            raise self._no_answer(reason, is_free=isinstance(error, _NEVER_SENT)) from error
        if not response.is_success:
            raise self._failure_of(response)
        return self._reply_of(response.content)

    def _no_answer(self, reason: str, *, is_free: bool) -> TryLater:
        message = f"{self._name}: no answer ({self._excerpt(reason)})"
        return TryLater(message, wait_seconds=None, is_free=is_free)

    def _failure_of(self, response: httpx.Response) -> SkimError:
        status = response.status_code
        message = f"{self._name}: HTTP {status}"
        if status in _REFUSES_THE_KEY:  # its text may quote a part of the key
            return SkimError(f"{message}: the key in SKIM_TEACHER_API_KEY is not accepted")
        if detail := self._excerpt(response.text):
            message += f": {detail}"
        if status in {408, 429} or status >= 500:
            return TryLater(
                message,
                wait_seconds=_wait_seconds(response.headers.get("retry-after", ""), self._now()),
                is_free=status not in _MAY_STILL_CHARGE,
            )
        return SkimError(message)

    def _reply_of(self, content: bytes) -> Reply:
        tokens = _tokens_of(content)
        try:
            choice = _Completion.model_validate_json(content).choices[0]
        except ValidationError:
            remark = "not a chat completion: " + self._excerpt(content.decode(errors="replace"))
            return Reply("", True, remark, *tokens)
        text = choice.message.content or ""
        remark = self._excerpt(text or choice.message.refusal or "") or "an empty answer"
        return Reply(text, choice.finish_reason != "length", remark, *tokens)

    def _excerpt(self, text: str) -> str:
        """Return the start of a text in one line, without the key."""
        if self._key:
            text = text.replace(self._key, "[key]")
        return " ".join(text.split())[:_LONGEST_DETAIL]


class _Message(BaseModel):
    content: str | None = None
    refusal: str | None = None

    @field_validator("content", mode="before")
    @classmethod
    def _joined(cls, content: Any) -> Any:  # noqa: ANN401  (as it came)
        """Some endpoints give a list of parts."""
        if not isinstance(content, list):
            return content
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Completion(BaseModel):
    choices: list[_Choice] = Field(min_length=1)


class _Usage(BaseModel):
    prompt_tokens: int = Field(ge=0, le=_MOST_TOKENS)
    completion_tokens: int = Field(ge=0, le=_MOST_TOKENS)


class _Charged(BaseModel):
    usage: _Usage


def _tokens_of(content: bytes) -> tuple[int, int] | tuple[None, None]:
    """Return tokens read and written, apart from the rest: a bad answer is charged too."""
    try:
        usage = _Charged.model_validate_json(content).usage
    except ValidationError:
        return None, None
    return usage.prompt_tokens, usage.completion_tokens


def _wait_seconds(retry_after: str, now: float) -> float | None:
    """Read a Retry-After header: seconds or an HTTP date."""
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - now)
    except ValueError:
        return None
