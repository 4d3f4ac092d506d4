"""Untrusted text made plain."""

import pytest

from shared.plain_text import one_line, query_key, signature, words_of


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("two  spaces, café — 茶 👍", "two  spaces, café — 茶 👍"),
        ("no-break\u00a0space\u3000wide", "no-break\u00a0space\u3000wide"),
        ("a\nb\r\nc\td\x0be\x85f\u2028g\u2029h", "a b c d e f g h"),
        ("a  \n  b", "a b"),
        ("a\x00b\x1b[31mc\x7f", "ab[31mc"),
        ("z\u200be\u200cr\u200do\ufeff\u00ad", "zero"),
        ("\u202eevil\u202c \u2066iso\u2069", "evil iso"),
        ("tag\U000e0041\ue000", "tag"),
    ],
)
def test_one_line_keeps_what_is_seen(text: str, line: str) -> None:
    assert one_line(text) == line


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("reed instrument", "Instrument, reed!"),
        ("reed instruments", "reed instrument"),
        ("berries", "berry"),
        ("cookies", "cookie"),
        ("boxes", "box"),
        ("dishes", "dish"),
        ("glasses", "glass"),
        ("potatoes", "potato"),
        ("shoes", "shoe"),
        ("axes", "axe"),
        ("men's shoes", "mens shoe"),
        ("double-reed", "double reed"),
        ("ＯＢＯＥ", "oboe"),  # noqa: RUF001
        ("STRASSE", "straße"),
    ],
)
def test_near_duplicates_share_a_signature(one: str, other: str) -> None:
    assert signature(one) == signature(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("car", "care"),
        ("cloth", "clothes"),
        ("glass", "glas"),
        ("iris", "iri"),
        ("reed", "reed instrument"),
        ("की", "का"),
    ],
)
def test_different_words_do_not(one: str, other: str) -> None:
    assert signature(one) != signature(other)


def test_vowel_signs_belong_to_their_word() -> None:
    assert words_of("हिन्दी किताब, C'est") == ["हिन्दी", "किताब", "cest"]


@pytest.mark.parametrize(
    ("typed", "key"),
    [
        ("  Fishing\t BOAT ", "fishing boat"),
        ("\uff26ishing\u3000boat", "fishing boat"),
        ("fishing\u200b boat", "fishing boat"),
        ("Straße", "straße"),
    ],
)
def test_a_query_has_one_key_however_it_is_typed(typed: str, key: str) -> None:
    assert query_key(typed) == key
    assert query_key(key) == key
