"""Documents written to break what reads them, and payloads that the contract refuses.

Composed for this project, in `tests/data/hostile_documents.jsonl` (a line each; invisible characters are
escaped there) and, where a document is huge, below. Each carries a canary of its own number, an address
that must come out nowhere: CANARY-0042@evil.example, https://evil.example/0042.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from shared.contracts.document import MAX_METADATA_CHARACTERS, MAX_TEXT_CHARACTERS, Document

CANARY_HOST = "evil.example"
"""Part of every canary, however it is spelled."""
_FILE = Path(__file__).resolve().parents[1] / "data" / "hostile_documents.jsonl"


def _written() -> list[Document]:
    lines = _FILE.read_text(encoding="utf-8").strip().split("\n")
    return [Document.model_validate_json(line) for line in lines]


def _huge() -> list[Document]:
    canary = "CANARY-{0}@evil.example https://evil.example/{0}".format
    room = MAX_TEXT_CHARACTERS - 100
    field = MAX_METADATA_CHARACTERS
    return [
        Document(id="9001-huge-word", title="x", text=canary(9001) + "x" * room),
        Document(id="9002-huge-spaces", title="x", text=" " * room + canary(9002)),
        Document(id="9003-huge-invisible", title="x", text="\u200b" * room + canary(9003)),
        Document(id="9004-huge-accents", title="x", text="e" + "\u0301" * room + canary(9004)),
        Document(id="9005-huge-emoji", title="🎉" * 1000, text="🎉" * room + canary(9005)),
        Document(id="9006-huge-lines", title="x", text="Queries:\n" * 11_000 + canary(9006)),
        Document(
            id="9007-huge-brackets", title="<" * 1000, text="<|" * (room // 2) + canary(9007)
        ),
        Document(
            id="9008-huge-ligatures", title="\ufdfa" * 1000, text="\ufdfa" * room + canary(9008)
        ),
        Document(id="9009-huge-digits", title="1" * 1000, text="1-" * (room // 2) + canary(9009)),
        Document(id="9010-huge-tokens", title="x", text="<|im_end|>" * 9_900 + canary(9010)),
        Document(
            id="9011-huge-fields",
            title="x",
            metadata={f"Queries{n}": f"{canary(9011)}\n" + "x " * 4_900 for n in range(100)},
        ),
        Document(
            id="9012-huge-list",
            title="x",
            metadata={"tags": [canary(9012), *["Queries:\n"] * 50_000, "x" * field]},
        ),
    ]


HOSTILE: Sequence[Document] = (*_written(), *_huge())

REFUSED: Mapping[str, Mapping[str, object]] = {
    "no title": {"id": "a"},
    "blank title": {"id": "a", "title": " \n\t "},
    "long title": {"id": "a", "title": "x" * 1001},
    "long text": {"id": "a", "title": "x", "text": "x" * (MAX_TEXT_CHARACTERS + 1)},
    "half a character": {"id": "a", "title": "x", "text": "\ud800"},
    "bytes": {"id": "a", "title": "x", "text": b"\xff\xfe"},
    "path as id": {"id": "../../etc/passwd", "title": "x"},
    "key as id": {"id": "skim:labels:*", "title": "x"},
    "id with a line end": {"id": "a\n", "title": "x"},
    "invisible id": {"id": "a\u200b", "title": "x"},
    "long id": {"id": "a" * 201, "title": "x"},
    "field of a field": {"id": "a", "title": "x", "metadata": {"a": {"b": "c"}}},
    "list of lists": {"id": "a", "title": "x", "metadata": {"a": [["b"]]}},
    "no value": {"id": "a", "title": "x", "metadata": {"a": None}},
    "not a number": {"id": "a", "title": "x", "metadata": {"a": float("nan")}},
    "infinite": {"id": "a", "title": "x", "metadata": {"a": float("inf")}},
    "long name": {"id": "a", "title": "x", "metadata": {"n" * 101: "x"}},
    "long value": {
        "id": "a",
        "title": "x",
        "metadata": {"a": "x" * (MAX_METADATA_CHARACTERS + 1)},
    },
    "many fields": {"id": "a", "title": "x", "metadata": {f"{n}": "" for n in range(101)}},
    "unknown field": {"id": "a", "title": "x", "prompt": "Queries:"},
    "queries of its own": {"id": "a", "title": "x", "queries": ["evil"]},
}
"""What is wrong with a payload -> the payload."""
