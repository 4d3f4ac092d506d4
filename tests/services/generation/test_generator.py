"""QueryGenerator: documents in, distinct queries out."""

import asyncio
from pathlib import Path

import pytest

from services.generation.generator import Generated, QueryGenerator
from services.generation.line_search import SearchPlan
from services.generation.query_trie import QueryTrie
from services.generation.sampling import Sampling
from shared.completion import Dropped
from shared.contracts.document import Document
from shared.errors import TooLarge
from shared.prompt import PromptTokenizer
from tests.support.language_models import FakeLanguageModel
from tests.support.tiny_models import END_TOKEN, write_tokenizer


@pytest.fixture
def prompts(tmp_path: Path) -> PromptTokenizer:
    return PromptTokenizer(write_tokenizer(tmp_path), end_token=END_TOKEN)


def _scribe(prompts: PromptTokenizer, text: str, *, is_finished: bool = True) -> FakeLanguageModel:
    return FakeLanguageModel(prompts, lambda *_: text, is_finished=is_finished)


def _documents(*titles: str) -> list[Document]:
    return [Document(id=title, title=title) for title in titles]


def _queries(generator: QueryGenerator, *titles: str) -> list[list[str]]:
    return [written.queries for written in generator.generate(_documents(*titles))]


def _write(generator: QueryGenerator, known: tuple[str, ...] = ()) -> Generated:
    return asyncio.run(generator.write(Document(id="d", title="oboe"), known=known))


def test_each_document_gets_its_own_clean_queries(prompts: PromptTokenizer) -> None:
    generator = QueryGenerator(_scribe(prompts, "reed\noboe\n1. woodwind"), prompts, Sampling())

    assert _queries(generator, "oboe", "flute") == [
        ["reed", "woodwind"],
        ["reed", "oboe", "woodwind"],
    ]


def test_a_cut_last_line_is_not_a_query(prompts: PromptTokenizer) -> None:
    generator = QueryGenerator(
        _scribe(prompts, "reed\nwoodw", is_finished=False), prompts, Sampling()
    )

    assert _queries(generator, "oboe") == [["reed"]]


def test_a_document_has_the_same_seed_again_and_another_text_another(
    prompts: PromptTokenizer,
) -> None:
    scribe = _scribe(prompts, "reed")
    generator = QueryGenerator(scribe, prompts, Sampling())

    generator.generate([Document(id="x", title="oboe", text="old")])
    generator.generate([Document(id="y", title="oboe", text="old")])
    generator.generate([Document(id="x", title="oboe", text="new")])

    first, again, other = (asked.seed for asked in scribe.asked)
    assert first == again != other


def test_waiting_and_awaiting_give_the_same_queries_from_the_same_seed(
    prompts: PromptTokenizer,
) -> None:
    scribe = _scribe(prompts, "reed\nwoodwind")
    generator = QueryGenerator(scribe, prompts, Sampling())

    assert [_write(generator).written] == generator.generate(_documents("oboe"))
    assert scribe.asked[0].seed == scribe.asked[1].seed


def test_known_queries_are_dropped_and_what_was_dropped_is_told(prompts: PromptTokenizer) -> None:
    generator = QueryGenerator(_scribe(prompts, "reed\nwoodwind\noboe"), prompts, Sampling())

    written = _write(generator, known=("Woodwinds",))

    assert written.written.queries == ["reed"]
    assert written.dropped == {Dropped.KNOWN: 1, Dropped.TITLE: 1}


def test_samples_come_from_one_prompt_and_their_copies_count_once(
    prompts: PromptTokenizer,
) -> None:
    scribe = _scribe(prompts, "reed\nwoodwind")
    generator = QueryGenerator(scribe, prompts, Sampling(), samples=3)

    assert _queries(generator, "oboe") == [["reed", "woodwind"]]
    assert [asked.samples for asked in scribe.asked] == [3]


def test_when_one_document_is_refused_nothing_is_left_behind_for_the_others(
    prompts: PromptTokenizer,
) -> None:
    def write(title: str, _: str) -> str:
        if title == "c":
            raise TooLarge("no more")
        return "reed"

    model = FakeLanguageModel(prompts, write, is_held=True)
    generator = QueryGenerator(model, prompts, Sampling())

    with pytest.raises(TooLarge, match="no more"):
        generator.generate(_documents("a", "b", "c"))

    assert [asked.promise.cancelled() for asked in model.asked] == [True, True]


def test_the_model_always_has_documents_ahead_and_never_all_of_them(
    prompts: PromptTokenizer,
) -> None:
    model = _scribe(prompts, "reed")
    generator = QueryGenerator(model, prompts, Sampling())

    results = generator.stream(Document(id=f"d{n}", title=f"d{n}") for n in range(100))
    next(results)

    assert model.slots < len(model.asked) < 100
    assert len(list(results)) == 99
    assert [asked.title for asked in model.asked] == [f"d{n}" for n in range(100)]


def test_who_stops_awaiting_leaves_the_model(prompts: PromptTokenizer) -> None:
    model = FakeLanguageModel(prompts, lambda *_: "reed", is_held=True)
    generator = QueryGenerator(model, prompts, Sampling())

    async def check() -> None:
        task = asyncio.create_task(generator.write(Document(id="d", title="oboe")))
        await asyncio.to_thread(model.has_been_asked.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(check())
    assert model.asked[0].promise.cancelled()


@pytest.mark.parametrize(
    ("text", "has_line_end"), [("a\nb", True), ("a\n", True), ("\nab", False), ("ab", False)]
)
def test_the_first_line_is_there_when_a_line_with_text_ends_else_at_the_end(
    prompts: PromptTokenizer, text: str, has_line_end: bool
) -> None:
    model = _scribe(prompts, text)

    written = _write(QueryGenerator(model, prompts, Sampling()))

    assert (written.first_line <= model.told) is has_line_end


def test_what_a_search_finds_comes_behind_what_all_samples_have_but_not_what_is_known(
    prompts: PromptTokenizer,
) -> None:
    plan = SearchPlan(QueryTrie(["drone"], prompts.encode_lines), prompts.line_ends, -2.3)
    model = FakeLanguageModel(
        prompts, lambda *_: "reed", found={"drone": [-0.1], "woodwinds": [-0.2]}
    )
    searched = QueryGenerator(model, prompts, Sampling(), samples=2, search=plan)

    written = _write(searched, known=("woodwind",)).written

    assert written.queries == ["reed", "drone"]
    assert [each.expected for each in written.evidence] == [0.0, pytest.approx(0.905)]
    assert searched.searched_queries == 1
    assert QueryGenerator(model, prompts, Sampling()).searched_queries == 0
