"""Text that comes token by token, and the strings that end it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from services.generation.stop_strings import StopStrings, TextStream
from tests.support.tiny_models import write_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder: Path = tmp_path_factory.mktemp("tokenizer")
    return Tokenizer.from_file(str(write_tokenizer(folder)))


@given(text=st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=30))
def test_the_pieces_make_the_text(tokenizer: Tokenizer, text: str) -> None:
    stream = TextStream(tokenizer.decode)

    pieces = [stream.feed(token) for token in tokenizer.encode(text).ids]

    whole = "".join(pieces)
    assert text.startswith(whole)
    assert (
        text[len(whole) :].strip("\ufffd") == ""
    )  # what looks like half a character is held back


def test_a_token_is_decoded_a_few_times_however_long_the_text(tokenizer: Tokenizer) -> None:
    decoded: list[int] = []
    stream = TextStream(lambda ids: decoded.append(len(ids)) or tokenizer.decode(ids))

    for token in tokenizer.encode("word " * 200).ids:
        stream.feed(token)

    assert sum(decoded) <= 4 * 1000


@pytest.mark.parametrize(
    ("strings", "text", "before"),
    [
        (["\n\n"], "one\ntwo\n\nthree", "one\ntwo"),
        (["END", "\n"], "one END", "one "),
        (["é!"], "caf é! x", "caf "),
        (["zzz"], "one", None),
    ],
)
def test_the_text_ends_before_the_first_stop_string(
    tokenizer: Tokenizer, strings: list[str], text: str, before: str | None
) -> None:
    stop = StopStrings(strings, tokenizer.decode)

    found = any(stop.feed(token) for token in tokenizer.encode(text).ids)

    assert found == (before is not None)
    assert stop.text == (text if before is None else before)
