"""What a hostile document can do to the prompt and to the queries: nothing."""

import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from pydantic import ValidationError
from tokenizers import Tokenizer

from shared.completion import MAX_CHARACTERS, MAX_WORD_CHARACTERS, MAX_WORDS, read_completion
from shared.contracts.document import Document
from shared.prompt import PromptTokenizer
from tests.support.hostile_documents import CANARY_HOST, HOSTILE, REFUSED
from tests.support.tiny_models import END_TOKEN, write_chat_tokenizer

MAX_METADATA_TOKENS = 750
MAX_TITLE_TOKENS = 128

every_document = pytest.mark.parametrize("document", HOSTILE, ids=lambda document: document.id)


@pytest.fixture(scope="module")
def tokenizer_json(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_chat_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def prompts(tokenizer_json: Path) -> PromptTokenizer:
    return PromptTokenizer(
        tokenizer_json,
        end_token=END_TOKEN,
        max_metadata_tokens=MAX_METADATA_TOKENS,
        max_title_tokens=MAX_TITLE_TOKENS,
    )


def test_the_corpus_is_large_and_each_document_carries_its_canary() -> None:
    assert len(HOSTILE) >= 100
    assert len({document.id for document in HOSTILE}) == len(HOSTILE)
    for document in HOSTILE:
        number = document.id[:4]
        assert number.isdigit()
        assert number in document.described() + "".join(document.metadata)


@every_document
def test_a_hostile_document_is_a_document(document: Document) -> None:
    assert Document.model_validate_json(document.model_dump_json()) == document


@pytest.mark.parametrize("payload", REFUSED.values(), ids=REFUSED)
def test_what_the_contract_refuses_is_refused(payload: Mapping[str, object]) -> None:
    with pytest.raises(ValidationError):
        Document.model_validate(payload)


@every_document
def test_its_prompt_is_ours(
    prompts: PromptTokenizer, tokenizer_json: Path, document: Document
) -> None:
    special = Tokenizer.from_file(str(tokenizer_json)).get_added_tokens_decoder()

    ids = prompts.encode_prompt(document)
    lines = prompts.decode(ids).split("\n")

    assert not set(special) & set(ids)
    assert len(ids) <= MAX_TITLE_TOKENS + MAX_METADATA_TOKENS + len("\n\nQueries:\n")
    assert lines[0].startswith("Title: ")
    assert lines[-2:] == ["Queries:", ""]
    assert [line.strip().casefold() for line in lines].count("queries:") == 1
    assert len(lines) <= 1 + 1 + len(document.metadata) + 2


@every_document
def test_a_student_that_copies_it_writes_nothing_harmful(
    prompts: PromptTokenizer, document: Document
) -> None:
    for completion in _copies(document, prompts):
        for query in read_completion(completion, document, max_queries=1_000_000).queries:
            assert not _harm(query), query


def _copies(document: Document, prompts: PromptTokenizer) -> Iterator[str]:
    """Yield what the worst students write: the document as it is, as it was read, and in pieces."""
    values = [
        *document.metadata,
        *(", ".join(v) if isinstance(v, list) else str(v) for v in document.metadata.values()),
    ]
    copy = "\n".join([document.title, document.text, *values])
    words = copy[:20_000].split()
    yield copy
    yield prompts.decode(prompts.encode_prompt(document))
    yield copy[:20_000].replace(", ", "\n").replace(". ", "\n")
    for length in (1, 3, 8):
        starts = range(0, len(words), length)
        yield "\n".join(f"{n}. {' '.join(words[n : n + length])}" for n in starts)


def _harm(query: str) -> str:
    """Name what must not be in a query, by plain means that share nothing with the parser."""
    folded = unicodedata.normalize("NFKC", query).casefold()
    if any(unicodedata.category(c) in {"Cc", "Cf", "Co", "Cn", "Zl", "Zp"} for c in query):
        return "control characters"
    if any(c in folded for c in "<>{}[]|\\`"):
        return "markup"
    if CANARY_HOST in folded or ("canary" in folded and "evil" in folded):
        return "canary"
    if any(sign in folded for sign in ("@", "://", "www.", "mailto", "javascript", ".com")):
        return "address"
    if any(name in folded for name in ("im_start", "im_end", "endoftext", "eot_id")):
        return "special token"
    if _longest_number(folded) >= 7:
        return "phone number"
    if len(query) > MAX_CHARACTERS or len(query.split()) > MAX_WORDS:
        return "length"
    if max(map(len, query.split())) > MAX_WORD_CHARACTERS:
        return "huge word"
    return "" if any(c.isalpha() for c in query) else "no word"


def _longest_number(text: str) -> int:
    """Return the most digits that no letter stands between."""
    apart = "".join("x" if c.isalpha() else c if c.isdigit() else "" for c in text)
    return max(map(len, apart.split("x")))
