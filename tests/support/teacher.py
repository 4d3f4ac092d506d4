"""A chat endpoint that answers by a script, and a clock that does not wait."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import httpx

KEY = "sk-very-secret-0123456789"
Script = Callable[[str, int], httpx.Response | Exception]
"""Takes the title asked about and how often it was asked before; gives the answer or what goes wrong."""


def completion(text: str | None, **choice: object) -> httpx.Response:
    """A chat completion that cost 100 + 20 tokens."""
    return httpx.Response(200, json=completion_body(text, **choice))


def completion_body(text: str | None, **choice: object) -> dict[str, object]:
    return {
        "choices": [{"message": {"role": "assistant", "content": text}, **choice}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 20},
    }


def queries_about(title: str) -> list[str]:
    return [f"kind of {title} good", f"{title} for rain"]


def good_answer(title: str, asked_before: int = 0) -> httpx.Response:
    return completion("\n".join(queries_about(title)))


def title_in(messages: Sequence[dict[str, str]]) -> str:
    """Read the title in the last message of a prompt."""
    fenced = re.search(r"<document>\n(.*)\n</document>", messages[-1]["content"], re.DOTALL)
    assert fenced is not None
    return str(json.loads(fenced[1])["title"])


class FakeTeacher(httpx.AsyncBaseTransport):
    """Answers after a few turns of the event loop, so that calls overlap."""

    def __init__(self, script: Script = good_answer) -> None:
        self._script = script
        self.bodies: list[dict[str, Any]] = []
        self.titles: list[str] = []
        self.most_at_once = self._at_once = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(await request.aread())
        title = title_in(body["messages"])
        asked_before = self.titles.count(title)
        self.bodies.append(body)
        self.titles.append(title)
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            for _ in range(1 + len(self.titles) % 3):
                await asyncio.sleep(0)
            answer = self._script(title, asked_before)
        finally:
            self._at_once -= 1
        if isinstance(answer, Exception):
            raise answer
        return answer


class FakeClock:
    """Time that passes when somebody waits for it."""

    def __init__(self) -> None:
        self.time = 0.0
        self.waits: list[float] = []

    def now(self) -> float:
        return self.time

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        self.waits.append(seconds)
        until = self.time + seconds
        await asyncio.sleep(0)
        self.time = max(self.time, until)
