"""What lines that are no queries look like: headings, addresses, markup, chat tokens, damaged text.

For one short line at a time: `shared/completion.py` bounds its length.
"""

from __future__ import annotations

import re
import unicodedata

from shared.plain_text import one_line, words_of

_INVISIBLE = dict.fromkeys(
    [
        *(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0),  # joiners and fillers
        *range(0x180B, 0x1810),  # variation selectors, in three blocks
        *range(0xFE00, 0xFE10),
        *range(0xE0100, 0xE01F0),
    ]
)
_BULLETS = "\u2022\u2023\u25e6\u25aa\u25cf\u25cb\u00b7\u25ba\u27a4\u2713\u2714\u2610"
_MARK = re.compile(
    rf"""
    ^(?:
    [-*+>\u2013\u2014{_BULLETS}]+\s+            # - x
    | [{_BULLETS}\u2460-\u2473]+\s*             # •x, ①x
    | (?:\d{{1,3}}|[(\[]\d{{1,2}})[.):\]]+(?:\s+|(?=[^\W\d_]))  # 1. x, (1) x, 1.x; not 1.5, (030) 1
    | \d{{1,3}}(?:\u20e3\s*|\s+[-\u2013]\s+)    # keycap 1, 1 - x
    | [(\[]?(?:[a-z]|[ivx]{{2,4}})[.)\]]\s+     # a) x, iv. x
    | (?:query|q)\s*\d{{1,3}}\s*[-:.)]\s*       # Query 1: x
    )
    """,
    re.IGNORECASE | re.VERBOSE,
)
EMPHASIS = " \"'`*_~\u2018\u2019\u201c\u201d\u00ab\u00bb\u2026" + _BULLETS
PUNCTUATION = EMPHASIS + ".,;:-\u2013\u2014"
_MAX_DIGITS = 6


def visible_text(line: str) -> str:
    """Return what is seen of a line, with single spaces."""
    return " ".join(one_line(line.translate(_INVISIBLE)).split())


def without_marks(text: str, edges: str) -> str:
    """Return a text without list marks and without these characters at its ends, however nested."""
    before = ""
    while text != before:
        before, text = text, _MARK.sub("", text.strip(edges), count=1)
    return text


HEADING = re.compile(
    r"""
    ^\#{1,6}(?:\s|$)
    | :\W*$
    | ^(?:search\s+)?quer(?:y|ies)$
    | ^(?:system|user|human|assistant|ai|bot|instructions?|prompt|input|output|answer|response|title
        |note|(?:search\s+)?quer(?:y|ies))\s*:
    | ^(?:sure|certainly|of\ course|okay)\b\W*[,!.]
    | ^here(?:'s|\ is|\ are)\b.*\b(?:quer|search|list|keyword)
    | ^(?:below|these|the\ following)\ are\b
    | ^as\ an?\ (?:ai|language\ model|large\ language\ model)\b
    | ^i(?:'m\ sorry|\ am\ sorry|'m\ unable|\ am\ unable|\ cannot|\ can't|\ hope)\b
    """,
    re.IGNORECASE | re.VERBOSE,
)
SPECIAL_TOKEN = re.compile(
    r"""
    <\s?\|[^|]* | \|\s?>
    | \b(?:im_start|im_end|endoftext|end_of_text|eot_id|start_of_turn|end_of_turn)\b
    | <</?sys>>
    | \[/?(?:inst|cls|sep|pad|unk|mask)\]
    | </?(?:s|unk|pad|bos|eos|think|tool_call)>
    """,
    re.IGNORECASE | re.VERBOSE,
)
ADDRESS = re.compile(
    r"""
    \w:// | \bwww\. | \b(?:mailto|javascript|data|file|tel):\S
    | @
    | [\[({]\s?(?:\.|dot|at|@)\s?[\])}]         # name [at] host (dot) org
    | \w[.\u3002](?!js\b)[^\W\d_]{2}            # host.org, also without a path
    | \b\d{1,3}(?:\.\d{1,3}){3}\b
    | (?:^|\s)\.{0,2}/\w+                       # a path
    """,
    re.IGNORECASE | re.VERBOSE,
)
MARKUP = re.compile(
    r"""
    [<>{}\[\]|\\`^=~*_]
    | &(?:\#\w+|[a-z]{2,8}); | %[0-9a-f]{2} | ;(?=.)
    | && | \$\( | -- | /\* | \w\( | "\s*:
    """,
    re.IGNORECASE | re.VERBOSE,
)
FENCES = ("```", "~~~")
"""Begin and end a block of code in Markdown."""
_DIGITS_APART = re.compile(r"\d[\W\d_]*")
_YEARS = re.compile(r"(?:1\d|20)\d\d\s?[-\u2013/]\s?(?:1\d|20)\d\d\W*")


def has_long_number(text: str) -> bool:
    """Say whether more than six digits follow each other with no letter between; years do not count."""
    return any(
        sum(c.isdigit() for c in run) > _MAX_DIGITS and not _YEARS.fullmatch(run)
        for run in _DIGITS_APART.findall(text)
    )


def has_no_words(text: str) -> bool:
    """Say whether there is no letter in it."""
    return not any(c.isalpha() for c in text)


def is_stuffed(text: str) -> bool:
    """Say whether it is a list of keywords, or the same words again and again."""
    words = words_of(text)
    return text.count(",") > 2 or 2 * len(set(words)) < len(words)


def is_garbled(text: str) -> bool:
    """Say whether it holds bytes that are no text, text of a wrong encoding, or piles of accents."""
    if text.isascii():
        return False
    marks = "".join("^" if unicodedata.combining(c) else " " for c in text)
    return "\ufffd" in text or "^^^" in marks or any(map(_is_misread, text.split(" ")))


def _is_misread(word: str) -> bool:
    """Say whether a word is UTF-8 that was read as Latin-1 or Windows-1252."""
    if word.isascii():
        return False
    for encoding in ("latin-1", "cp1252"):
        try:
            word.encode(encoding).decode("utf-8")
        except UnicodeError:
            continue
        return True
    return False
