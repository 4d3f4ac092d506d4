"""The services, asked over HTTP: what they answer, or one line for a person."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from shared.errors import SkimError

_T = TypeVar("_T")
_Model = TypeVar("_Model", bound=BaseModel)
Params = Mapping[str, str | int | list[str]]


class ActionFailed(SkimError):
    """A service did not do what it was asked.

    Args:
        line: why, for a person.
        status: of HTTP.
    """

    def __init__(self, line: str, status: int) -> None:
        super().__init__(line)
        self.status = status


@dataclass(frozen=True)
class Answer(Generic[_T]):
    """A value, or the line that a page shows in its place."""

    value: _T | None
    line: str = ""
    status: int = 200
    """Of HTTP; 0 without an answer, 501 if the service does not offer it."""


class Suite:
    """Asks services; nothing is waited for longer than the time-out.

    Args:
        http: a client without retries.
        urls: where each service listens, by its name.
    """

    def __init__(self, http: httpx.AsyncClient, urls: Mapping[str, str]) -> None:
        self._http = http
        self.urls = urls

    async def ask(
        self,
        name: str,
        path: str,
        *,
        seconds: float,
        method: str = "GET",
        params: Params | None = None,
        body: object = None,
    ) -> httpx.Response | None:
        """Return whatever a service answers; None if it does not in time."""
        try:
            async with asyncio.timeout(seconds):
                return await self._http.request(
                    method, self.urls[name] + path, params=params, json=body, timeout=seconds
                )
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError):
            return None

    async def read(
        self,
        model: type[_Model],
        name: str,
        path: str,
        *,
        seconds: float,
        params: Params | None = None,
    ) -> Answer[_Model]:
        """Return what a service answers to a GET as a model."""
        response = await self.ask(name, path, seconds=seconds, params=params)
        return self._answer(model, name, f"GET {path}", response)

    async def lines(
        self,
        model: type[_Model],
        name: str,
        path: str,
        *,
        seconds: float,
        limit: int,
        params: Params | None = None,
    ) -> Answer[list[_Model]]:
        """Return the first lines of an export, at most `limit`."""
        found: list[_Model] = []
        try:
            async with (
                asyncio.timeout(seconds),
                self._http.stream("GET", self.urls[name] + path, params=params) as response,
            ):
                if not response.is_success:
                    await response.aread()
                    line, status = self._refusal(name, f"GET {path}", response)
                    return Answer(None, line, status)
                async for line in _first(response.aiter_lines(), limit):
                    found.append(model.model_validate_json(line))
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError):
            return Answer(None, self._silence(name), 0)
        except ValidationError:
            return Answer(None, _strange(name), 502)
        return Answer(found)

    async def act(
        self,
        model: type[_Model],
        name: str,
        method: str,
        path: str,
        *,
        seconds: float,
        params: Params | None = None,
        body: object = None,
    ) -> _Model:
        """Have a service do something; return what it says of it.

        Raises:
            ActionFailed: it did not, or does not say.
        """
        response = await self.ask(
            name, path, seconds=seconds, method=method, params=params, body=body
        )
        answer = self._answer(model, name, f"{method} {path}", response)
        if answer.value is None:
            raise ActionFailed(answer.line, answer.status or 502)
        return answer.value

    def _answer(
        self, model: type[_Model], name: str, asked: str, response: httpx.Response | None
    ) -> Answer[_Model]:
        if response is None:
            return Answer(None, self._silence(name), 0)
        if not response.is_success:
            line, status = self._refusal(name, asked, response)
            return Answer(None, line, status)
        try:
            return Answer(model.model_validate_json(response.content))
        except ValidationError:  # another version of the service, for a while
            return Answer(None, _strange(name), 502)

    def _silence(self, name: str) -> str:
        return f"The {name} service does not answer at {self.urls[name]}."

    def _refusal(self, name: str, asked: str, response: httpx.Response) -> tuple[str, int]:
        detail = detail_of(response)
        is_missing = response.status_code == 404 and detail in ("Not Found", "HTTP 404")
        if is_missing or response.status_code in (405, 501):
            return f"This {name} service does not offer it ({asked}).", 501
        return f"The {name} service says: {detail}", response.status_code


def detail_of(response: httpx.Response) -> str:
    """Return what a problem says, else its status."""
    try:
        return str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {response.status_code}"


def _strange(name: str) -> str:
    return f"The {name} service answers what this dashboard does not understand: other versions?"


async def _first(lines: AsyncIterator[str], limit: int) -> AsyncIterator[str]:
    count = 0
    async for line in lines:
        if count == limit:
            return
        count += 1
        yield line
