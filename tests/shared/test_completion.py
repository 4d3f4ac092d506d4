"""The parser of completions: what becomes a query, what does not, and why."""

import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.completion import (
    MALFORMED,
    MAX_CHARACTERS,
    MAX_WORD_CHARACTERS,
    MAX_WORDS,
    Dropped,
    malformation_of,
    parse_completion,
    read_completion,
)
from shared.contracts.document import Document
from shared.plain_text import signature

OBOE = Document(
    id="oboe", title="oboe", text="a double-reed instrument", metadata={"kind": "music"}
)


@pytest.mark.parametrize(
    "line",
    [
        *("woodwind", "1. woodwind", "2) woodwind", "(3) woodwind", "[4] woodwind", "12.woodwind"),
        *("5: woodwind", "6 - woodwind", "7\ufe0f\u20e3 woodwind", "\u2461 woodwind"),
        *("- woodwind", "* woodwind", "+ woodwind", "\u2022woodwind", "\u2014 woodwind"),
        *("> woodwind", "\u2713 woodwind", "a) woodwind", "b. woodwind", "iv. woodwind"),
        *("Query 3: woodwind", "Q1. woodwind", "- 1. **woodwind**", "* __woodwind__"),
        *(
            '"woodwind".',
            "\u201cwoodwind\u201d,",
            "\u00abwoodwind\u00bb",
            "`woodwind`",
            "woodwind;",
        ),
        *("  woodwind\t", "wood\u200bwind\x07", "\u202ewoodwind\u202c", "wood\u00adwind\ufe0f"),
    ],
)
def test_marks_quotes_and_invisible_characters_are_taken_off(line: str) -> None:
    assert parse_completion(line, OBOE) == ["woodwind"]


@pytest.mark.parametrize(
    "query",
    [
        *("c++ tutorial", "c# tutorial", "r&b music", "at&t phone", "$5 shirts", "50% off shoes"),
        *("men's shoes", "star wars: a new hope", "1939-1945 war medals", "iphone 12 case"),
        *("3.5mm jack", "10:30 train", "2.4 ghz router", "24/7 plumber", "no. 2 pencil"),
        *("node.js tutorial", "e.g. oboe", "u.s.a. flags", "ph.d. gown", "a.m. radio", "h2o"),
        *("new york, new york", "bora bora", "what is an oboe?", "oboe (instrument)"),
        *("3 piece suit", "501 jeans", "here is the house song", "please don't eat the daisies"),
        *("sql queries for beginners", "user manual", "assistant manager jobs", "café crème"),
        *(
            "茶",
            "木管楽器",
            "हिन्दी किताब",
            "كتاب عربي",
            "שלום",
            "ไม้ไผ่",
            "деревянные духовые",
            "🎵 oboe music",
        ),
    ],
)
def test_an_unusual_query_survives_as_written(query: str) -> None:
    assert parse_completion(query, OBOE) == [query]


@pytest.mark.parametrize(
    ("reason", "line"),
    [
        *((Dropped.HEADING, line) for line in (
            "Queries:", "queries", "**Search queries:**", "# Oboe", "## Queries", "Title: oboe",
            "Here are 10 search queries:", "Here are some queries for the oboe", "List\uff1a",
            "Sure! Reed.", "Of course, reed", "As an AI language model", "I'm sorry", "USER: reed",
            "assistant: reed", "### Instruction", "Query: reed", "These are reeds",
        )),
        *((Dropped.SPECIAL_TOKEN, line) for line in (
            "<|im_end|>", "reed <|im_start|>user", "<|im\u200b_end|>", "\uff1c|im_end|\uff1e",
            "< |endoftext| >", "im_start", "[INST] reed [/INST]", "<<SYS>>", "reed </s>", "<s>reed",
            "|>", "<|",
        )),
        *((Dropped.ADDRESS, line) for line in (
            "https://x.example", "see http://x", "ftp://x/y", "www.reeds", "reeds.example/x", "t.me/x",
            "buy at evil.example today", "пример.рф", "me@x.example", "me\uff20x", "@oboist",
            "me [at] x (dot) example", "evil[.]example", "evil\u3002example", "evil\u2024example",
            "javascript:alert", "mailto:me", "192.168.0.1 login", "cat /etc/passwd", "../secret",
            "evil\u200b.example", "https%3A%2F%2Fevil.example",
        )),
        *((Dropped.NUMBER, line) for line in (
            "call +1 555 123 4567", "555-1234", "(030) 12 34 56 reeds", "\uff15\uff15\uff15 1234 reed",
            "5 5 5/1 2 3 4 now", "tel ٠١٢٣٤٥٦٧٨", "isbn 9783161484100",
        )),
        *((Dropped.MARKUP, line) for line in (
            "<b>reed</b>", "reed <br", "[reed](x)", "reed | oboe", "snake_case", "a*b", "{reed}",
            "&lt;b&gt; reed", "reed&nbsp;", "reed%20x", "x = reed", "a; b", "a && b", "$(reed)",
            "alert(1)", 'id": "reed"', "reed\\n", "drop table --", "~~a~~ b ~~c~~", "```python", "\ufe64b\ufe65reed",
        )),
        *((Dropped.NO_WORDS, line) for line in ("123", "!!!", "---", "👍👍", "1.", "4 + 4", "....")),
        *((Dropped.LENGTH, line) for line in (
            "x", "É", "a " * MAX_WORDS + "a", "x" * (MAX_WORD_CHARACTERS + 1), "x" * 100_000,
            " ".join(["w" * 40] * 3),
        )),
        *((Dropped.STUFFED, line) for line in (
            "reed reed reed", "buy reed buy reed buy", "reed, oboe reed, cheap reed, reed shop",
        )),
        *((Dropped.GARBLED, line) for line in (
            "cafÃ© reed", "menâ€™s reed", "reed \ufffd", "Ð¿Ñ\x80", "r\u0301\u0302\u0303eed",
        )),
        *((Dropped.TITLE, line) for line in ("oboe", "Oboes", "- OBOE.", "o\u200bboe")),
        *((Dropped.KNOWN, line) for line in ("reed shop", "Shops: reeds", "1. reed-shop")),
    ],
)  # fmt: skip
def test_a_line_is_dropped_for_a_reason(reason: Dropped, line: str) -> None:
    read = read_completion(f"woodwind\n{line}\nband", OBOE, known=["Reed shop"])

    assert read.queries == ["woodwind", "band"]
    assert read.dropped == Counter([reason])
    assert read.lines == 3
    assert read.malformed_lines == int(reason in MALFORMED)


def test_near_duplicates_are_written_once() -> None:
    read = read_completion(
        "reed instrument\ninstrument reed\nReed-instruments!\nreed  instrument\nreed", OBOE
    )

    assert read.queries == ["reed instrument", "reed"]
    assert read.dropped == Counter({Dropped.REPEATED: 3})


def test_what_the_budget_cut_or_nobody_asked_for_is_not_malformed() -> None:
    read = read_completion("reed\nband\nflute\nwoodw", OBOE, is_finished=False, max_queries=2)

    assert read.queries == ["reed", "band"]
    assert read.dropped == Counter([Dropped.SURPLUS, Dropped.CUT])
    assert read.malformed_lines == 0


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        ("woodwind\nreed instr", ["woodwind"]),
        ("woodwind\nreed\n", ["woodwind", "reed"]),
        ("woodw", []),
        ("", []),
    ],
)
def test_only_a_last_line_without_its_end_was_cut(completion: str, expected: list[str]) -> None:
    assert parse_completion(completion, OBOE, is_finished=False) == expected


def test_blank_lines_do_not_count() -> None:
    read = read_completion("\n \n\u200b\nreed\n\t\n", OBOE)

    assert (read.queries, read.lines) == (["reed"], 1)


def test_each_query_says_which_line_it_was() -> None:
    read = read_completion("oboe\nreed\n\n1. band\nreed", OBOE)

    assert list(zip(read.queries, read.places, strict=True)) == [("reed", 1), ("band", 3)]


def test_every_line_end_of_unicode_ends_a_line() -> None:
    assert parse_completion("reed\u2028band\x85flute\x0bfife\rdrum", OBOE) == [
        *("reed", "band", "flute", "fife", "drum")
    ]


@given(st.text(max_size=300), st.booleans())
def test_whatever_is_written_queries_stay_in_bounds(completion: str, is_finished: bool) -> None:
    read = read_completion(completion, OBOE, is_finished=is_finished)

    assert len({signature(query) for query in read.queries}) == len(read.queries)
    for query in read.queries:
        assert query.isprintable() or query.replace("\u00a0", " ").isprintable()
        assert query == query.strip()
        assert len(query) <= MAX_CHARACTERS
        assert len(query.split()) <= MAX_WORDS
        assert any(c.isalpha() for c in query)


@given(st.text(max_size=300))
def test_a_query_read_again_is_itself(completion: str) -> None:
    queries = parse_completion(completion, OBOE)

    assert parse_completion("\n".join(queries), OBOE) == queries


@pytest.mark.parametrize(
    "piece",
    [
        *(
            "x",
            " ",
            "1",
            "1 ",
            "-",
            "- 1. ",
            "(",
            "<",
            "<|",
            ".",
            "a.",
            "@",
            "&",
            ":",
            "here are ",
            "\n",
        ),
        *(
            "\n1",
            "1-",
            "\u200b",
            "\u0301",
            "\ufdfa",
            "é",
            "Ã©",
            '"',
            "reed\n",
            "1. reed, \n",
            "|",
            "a,",
        ),
    ],
)
def test_reading_takes_linear_time(piece: str) -> None:
    """A hundred thousand characters take milliseconds; anything quadratic would take minutes."""
    completion = piece * (100_000 // len(piece))
    started = time.process_time()

    read_completion(completion, OBOE, is_finished=False)

    assert time.process_time() - started < 5


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=120))
def test_a_line_is_malformed_alone_as_in_a_completion(line: str) -> None:
    if len(line.splitlines()) > 1:
        return
    read = read_completion(line, OBOE)
    malformed = malformation_of(line)

    if read.lines:
        assert (malformed is not None) == bool(read.malformed_lines)
    else:
        assert malformed is Dropped.NO_WORDS


def test_a_line_that_is_too_long_is_malformed_unread() -> None:
    assert malformation_of("reed " * 1_000) is Dropped.LENGTH
