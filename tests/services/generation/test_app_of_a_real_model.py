"""The generation service over a tiny real model: ready, in time, abandoned, and what its metrics say."""

import asyncio
import json
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from services.generation.app import build_app, load_generator
from services.generation.settings import GenerationSettings
from shared.dataset import Query, write_rows
from shared.errors import InvalidInput
from shared.prompt import PromptTokenizer, TitleOnlyPrompts
from shared.settings import CommonSettings
from tests.support.asgi import Call, started, until
from tests.support.generation_app import NDJSON, PATH, body, value

MOVING = (
    "first_query_seconds_count",
    "first_query_seconds_sum",
    "document_seconds_count",
    "document_seconds_sum",
    "prefill_tokens_total",
    "decode_tokens_total",
    "prefill_seconds_sum",
    "decode_seconds_sum",
    "step_seconds_sum",
)


class TinyService:
    """The application over a real model of two layers."""

    def __init__(self, slm: Path, folder: Path, **settings: object) -> None:
        (folder / "models").mkdir()
        (folder / "models" / "slm").symlink_to(slm)
        self.common = CommonSettings(home=folder)
        self.settings = GenerationSettings.model_validate(
            {
                "threads": 1,
                "slots": 2,
                "samples": 1,
                "max_new_tokens": 8,
                "max_metadata_tokens": 200,
                **settings,
            }
        )
        self.app = build_app(self.common, self.settings)

    async def ready(self) -> list[int]:
        """Ask until it is ready; return the statuses of its answers."""
        statuses: list[int] = []
        while 200 not in statuses:
            await asyncio.sleep(0.001)  # as `until`
            call = Call(self.app, "/readyz")
            await call.task
            statuses.append(call.status)
        return statuses

    def run(self, check: Callable[[], Awaitable[None]]) -> None:
        async def _run() -> None:
            async with started(self.app):
                await self.ready()
                await check()

        asyncio.run(_run())


@pytest.fixture
def tiny(tiny_slm: Path, tmp_path: Path) -> TinyService:
    return TinyService(tiny_slm, tmp_path)


def test_it_is_ready_only_after_a_first_real_answer(tiny: TinyService) -> None:
    async def check() -> None:
        async with started(tiny.app):
            assert value(tiny.app, "decode_tokens_total") == 0
            first = Call(tiny.app, "/readyz")
            await first.task
            before = await tiny.ready()

            assert first.status == 503
            assert json.loads(first.text)["type"] == "urn:skim:problem:starting"
            assert set(before[:-1]) <= {503}
            assert value(tiny.app, "decode_tokens_total") > 0

    asyncio.run(check())


def test_a_document_past_its_deadline_fails_clearly_and_the_next_one_is_served(
    tiny: TinyService,
) -> None:
    async def check() -> None:
        late = Call(tiny.app, PATH, body("a", "b", timeout_seconds=1e-6))
        streamed = Call(tiny.app, PATH, body("c", timeout_seconds=1e-6), NDJSON)
        in_time = Call(tiny.app, PATH, body("d"))
        await asyncio.gather(late.task, streamed.task, in_time.task)
        await until(lambda: value(tiny.app, "documents_held") == 0)

        assert late.status == 504
        assert json.loads(late.text)["type"] == "urn:skim:problem:expired"
        (line,) = streamed.lines
        assert (line["document_id"], line["status"]) == ("c", 504)
        assert line["type"] == "urn:skim:problem:expired"
        assert in_time.status == 200
        assert value(tiny.app, "documents_total", outcome="expired") >= 2

    tiny.run(check)


def test_a_request_may_not_ask_for_more_time_than_the_service_gives(
    tiny_slm: Path, tmp_path: Path
) -> None:
    service = TinyService(tiny_slm, tmp_path, timeout_seconds=1e-6)

    async def check() -> None:
        call = Call(service.app, PATH, body("a", timeout_seconds=100))
        await call.task

        assert call.status == 504

    service.run(check)


def test_slots_are_free_after_the_clients_left(tiny_slm: Path, tmp_path: Path) -> None:
    service = TinyService(tiny_slm, tmp_path, max_new_tokens=300, context_tokens=512)

    async def check() -> None:
        calls = [Call(service.app, PATH, body(f"a{n}", f"b{n}")) for n in range(4)]
        await until(lambda: value(service.app, "slots_used") == 2)
        for call in calls:
            call.leave()
        await asyncio.gather(*(call.task for call in calls))
        # the step that emptied the slots may have seen some of the queue before it was cancelled
        await until(
            lambda: not any(value(service.app, n) for n in ("slots_used", "documents_waiting"))
        )

        assert value(service.app, "documents_held") == 0
        assert value(service.app, "documents_total", outcome="cancelled") > 0

    service.run(check)


def test_metrics_move_with_the_work(tiny: TinyService) -> None:
    async def check() -> None:
        before = {name: value(tiny.app, name) for name in MOVING}
        call = Call(tiny.app, PATH, body("oboe", "flute", "harp"))
        await call.task
        await until(lambda: value(tiny.app, "slots_used") == 0)  # its last step was counted
        moved = {name: value(tiny.app, name) - before[name] for name in MOVING}

        assert call.status == 200
        assert value(tiny.app, "documents_total", outcome="written") == 3
        assert moved["first_query_seconds_count"] == moved["document_seconds_count"] == 3
        assert 0 < moved["first_query_seconds_sum"] <= moved["document_seconds_sum"]
        # "Title: oboe" and its tail, a token a byte
        assert moved["prefill_tokens_total"] == sum(
            len(f"Title: {title}\n\nQueries:\n") for title in ("oboe", "flute", "harp")
        )
        assert 3 <= moved["decode_tokens_total"] <= 3 * 7  # the first of 8 is the prefill's
        assert moved["step_seconds_sum"] == pytest.approx(
            moved["prefill_seconds_sum"] + moved["decode_seconds_sum"], rel=0.2
        )
        assert value(tiny.app, "slots") == 2
        assert value(tiny.app, "documents_waiting") == 0
        lines = sum(
            value(tiny.app, "lines_dropped_total", reason=reason)
            for reason in ("garbled", "cut", "no_words", "length", "markup")
        )
        assert lines > 0  # a random model writes noise

    tiny.run(check)


def test_it_is_searched_for_the_train_queries_of_a_file(tiny_slm: Path, tmp_path: Path) -> None:
    queries = tmp_path / "queries.jsonl"
    rows = [Query(id=f"q{letter}", text=chr(letter) * 2) for letter in range(65, 91)]
    write_rows(queries, [*rows, Query(id="held-out", text="qx", split="test")])
    searched = TinyService(tiny_slm, tmp_path, train_queries=queries, min_line_probability=1e-9)

    async def check() -> None:
        await searched.ready()
        info = Call(searched.app, "/v1/info")
        await info.task
        call = Call(searched.app, PATH, body("oboe"))
        await call.task
        (result,) = json.loads(call.text)["results"]

        assert json.loads(info.text)["searched_queries"] == len(rows)
        expected = [each[2] for each in result["evidence"]]
        assert expected
        assert expected == sorted(expected, reverse=True)

    searched.run(check)


def test_train_queries_that_are_not_there_are_named_by_readiness(
    tiny_slm: Path, tmp_path: Path
) -> None:
    missing = tmp_path / "missing.jsonl"
    broken = TinyService(tiny_slm, tmp_path, train_queries=missing)

    async def check() -> None:
        async with started(broken.app):
            call = Call(broken.app, "/readyz")
            while "loading" in call.text or not call.text:
                call = Call(broken.app, "/readyz")
                await call.task
            assert call.status == 503
            assert str(missing) in call.text

    asyncio.run(check())


def test_train_queries_too_long_to_be_searched_for_are_refused(tiny_slm: Path) -> None:
    settings = GenerationSettings(threads=1, slots=2, samples=1)

    with pytest.raises(InvalidInput, match="none of 1 train queries can be searched for"):
        load_generator(tiny_slm, settings, train_queries=["a query of more than sixteen tokens"])


def test_a_model_that_ends_a_line_with_several_tokens_is_not_searched(tiny_slm: Path) -> None:
    class TwoTokens(PromptTokenizer):
        line_ends = frozenset({1, 2, 3})

    settings = GenerationSettings(threads=1, slots=2, samples=1)

    with pytest.raises(InvalidInput, match="several tokens"):
        load_generator(tiny_slm, settings, TwoTokens, train_queries=["reed"])


@pytest.mark.parametrize("kind", [PromptTokenizer, TitleOnlyPrompts])
def test_however_it_is_prompted_a_model_ends_where_its_card_says(
    kind: type[PromptTokenizer], tiny_slm: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "slm"
    shutil.copytree(tiny_slm, folder)
    card = json.loads((folder / "generator.json").read_text())
    (folder / "generator.json").write_text(json.dumps(card | {"end_token": "!"}))
    made: list[PromptTokenizer] = []

    def _make(path: Path, *, end_token: str, max_metadata_tokens: int) -> PromptTokenizer:
        made.append(kind(path, end_token=end_token, max_metadata_tokens=max_metadata_tokens))
        return made[0]

    load_generator(folder, GenerationSettings(threads=1, slots=2, samples=1), _make).close()

    assert made[0].decode([made[0].end_id]) == "!"
