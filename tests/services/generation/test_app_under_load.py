"""The generation service when much is asked of it: full, too slow, abandoned, partly broken."""

import asyncio
import json
import threading
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from services.generation.app import build_app
from services.generation.generator import QueryGenerator
from services.generation.sampling import Sampling
from services.generation.settings import GenerationSettings
from shared.prompt import PromptTokenizer
from shared.settings import CommonSettings
from tests.support.asgi import Call, started, until
from tests.support.generation_app import NDJSON, PATH, body, value
from tests.support.language_models import FakeLanguageModel
from tests.support.tiny_models import END_TOKEN, write_tokenizer


class Service:
    """The application over a model that answers when it is told to."""

    def __init__(self, folder: Path, places: int = 8) -> None:
        self.prompts = PromptTokenizer(write_tokenizer(folder), end_token=END_TOKEN)
        self.model = FakeLanguageModel(self.prompts, self._write, is_held=True)
        self.app = build_app(
            CommonSettings(home=folder),
            GenerationSettings(max_waiting=places),
            QueryGenerator(self.model, self.prompts, Sampling()),
        )

    def _write(self, title: str, _: str) -> str:
        if title.startswith("poison"):
            raise RuntimeError("the decoder choked")
        return "woodwind\nreed"

    def call(self, *titles: str, **headers: str) -> Call:
        return Call(self.app, PATH, body(*titles), headers)

    def asked(self) -> list[str]:
        return [asked.title for asked in self.model.asked]

    def run(self, check: Callable[[], Awaitable[None]]) -> None:
        async def _run() -> None:
            async with started(self.app):
                await check()

        asyncio.run(_run())


def test_what_does_not_fit_whole_is_refused_with_retry_after_and_not_queued(
    tmp_path: Path,
) -> None:
    service = Service(tmp_path, places=3)

    async def check() -> None:
        first = service.call("a", "b")
        await until(lambda: len(service.asked()) == 2)
        refused = service.call("c", "d")
        await refused.task
        fits = service.call("e")
        await until(lambda: len(service.asked()) == 3)
        for title in "abe":
            service.model.answer(title)
        await asyncio.gather(first.task, fits.task)

        assert refused.status == 503
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert json.loads(refused.text)["type"] == "urn:skim:problem:unavailable"
        assert (first.status, fits.status) == (200, 200)
        assert sorted(service.asked()) == ["a", "b", "e"]
        assert value(service.app, "documents_total", outcome="refused") == 2
        assert value(service.app, "documents_total", outcome="written") == 3
        assert value(service.app, "documents_held") == 0

    service.run(check)


def test_a_request_that_could_never_fit_is_refused_for_good(tmp_path: Path) -> None:
    service = Service(tmp_path, places=2)

    async def check() -> None:
        call = service.call("a", "b", "c")
        await call.task

        assert call.status == 413
        assert service.asked() == []

    service.run(check)


def test_many_requests_wait_side_by_side_without_a_thread_each(tmp_path: Path) -> None:
    service = Service(tmp_path, places=200)

    async def check() -> None:
        before = threading.active_count()
        titles = [f"t{number}" for number in range(200)]
        calls = [service.call(title) for title in titles]
        await until(lambda: len(service.asked()) == 200)
        assert threading.active_count() - before <= 40
        assert value(service.app, "documents_held") == 200
        for title in reversed(titles):
            service.model.answer(title)
        await asyncio.gather(*(call.task for call in calls))

        assert {call.status for call in calls} == {200}

    service.run(check)


def test_streamed_results_come_as_they_finish(tmp_path: Path) -> None:
    service = Service(tmp_path)

    async def check() -> None:
        call = service.call("a", "b", "c", **NDJSON)
        await until(lambda: len(service.asked()) == 3)
        service.model.answer("c")
        await until(lambda: call.lines)
        assert [line["document_id"] for line in call.lines] == ["c"]
        assert not call.task.done()
        service.model.answer("a")
        await until(lambda: len(call.lines) == 2)
        service.model.answer("b")
        await call.task

        assert [line["document_id"] for line in call.lines] == ["c", "a", "b"]
        assert all(line["queries"] == ["reed", "woodwind"] for line in call.lines)

    service.run(check)


def test_a_document_that_breaks_the_model_is_a_problem_of_its_own_line_only(
    tmp_path: Path,
) -> None:
    service = Service(tmp_path)

    async def check() -> None:
        other = service.call("elsewhere")
        call = service.call("a", "poison", "b", **NDJSON)
        await until(lambda: len(service.asked()) == 3)
        for title in ("a", "b", "elsewhere"):
            service.model.answer(title)
        await asyncio.gather(call.task, other.task)

        lines = {line.pop("document_id"): line for line in call.lines}
        assert lines["a"]["queries"] == lines["b"]["queries"] == ["reed", "woodwind"]
        assert lines["poison"]["type"] == "urn:skim:problem:internal-error"
        assert lines["poison"]["status"] == 500
        assert (call.status, other.status) == (200, 200)
        assert value(service.app, "documents_total", outcome="failed") == 1
        assert value(service.app, "documents_held") == 0

    service.run(check)


def test_in_one_answer_the_first_error_is_the_answer_and_the_rest_is_let_go(
    tmp_path: Path,
) -> None:
    service = Service(tmp_path)

    async def check() -> None:
        call = service.call("a", "poison")
        with capture_logs() as logs:
            await call.task

        await until(lambda: value(service.app, "documents_held") == 0)
        assert call.status == 500
        assert "choked" not in call.text
        assert [entry["event"] for entry in logs] == ["unexpected_error"]
        assert all(asked.promise.cancelled() for asked in service.model.asked)

    service.run(check)


@pytest.mark.parametrize("headers", [{}, NDJSON], ids=["json", "ndjson"])
def test_when_the_client_leaves_its_documents_are_let_go(
    tmp_path: Path, headers: dict[str, str]
) -> None:
    service = Service(tmp_path, places=3)

    async def check() -> None:
        call = service.call("a", "b", **headers)
        stays = service.call("c")
        await until(lambda: len(service.asked()) == 3)
        call.leave()
        await call.task
        await until(lambda: value(service.app, "documents_held") == 1)

        gone = {asked.title for asked in service.model.asked if asked.promise.cancelled()}
        assert gone == {"a", "b"}
        assert value(service.app, "documents_total", outcome="cancelled") == 2
        service.model.answer("c")
        await stays.task
        assert stays.status == 200
        assert call.text == ""

    service.run(check)


def test_when_the_client_leaves_a_stream_half_way_the_rest_is_let_go(tmp_path: Path) -> None:
    service = Service(tmp_path)

    async def check() -> None:
        call = service.call("a", "b", **NDJSON)
        await until(lambda: len(service.asked()) == 2)
        service.model.answer("b")
        await until(lambda: call.lines)
        call.leave()
        await call.task
        await until(lambda: value(service.app, "documents_held") == 0)

        assert [line["document_id"] for line in call.lines] == ["b"]
        assert [asked.promise.cancelled() for asked in service.model.asked] == [True, False]

    service.run(check)


def test_no_text_of_a_document_is_ever_logged(tmp_path: Path) -> None:
    service = Service(tmp_path)

    async def check() -> None:
        calls = [
            Call(service.app, PATH, {"documents": [document]}, headers)
            for headers in ({}, NDJSON)
            for document in (
                {"id": "1", "title": "poison CANARY", "text": "CANARY"},
                {"id": "bad id CANARY", "title": "CANARY"},
            )
        ]
        await asyncio.gather(*(call.task for call in calls), return_exceptions=True)

    with capture_logs() as logs:
        service.run(check)

    assert [entry["event"] for entry in logs].count("unexpected_error") == 2
    for entry in logs:
        error = entry.pop("exc_info", None)
        assert "CANARY" not in str(entry) + "".join(traceback.format_exception(error))
