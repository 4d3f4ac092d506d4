"""A hundred uploads that are none: each is told what is wrong with it, in one problem, and nothing is kept."""

import gzip
import json
from collections.abc import Iterator, Mapping

import httpx
import pytest
from fastapi.testclient import TestClient

from services.augmentation.app import build_app
from services.augmentation.dispatcher import Dispatcher
from services.augmentation.settings import AugmentationSettings
from shared.store import MemoryStore
from tests.support.hostile_documents import REFUSED
from tests.support.queues import FakeQueue

MAX_BODY_BYTES = 500_000
FINE = {"id": "a", "title": "x"}
JSON = {"content-type": "application/json"}
_WHOLE = json.dumps({"documents": [FINE, {"id": "b", "title": "ä", "text": "two"}]}).encode()

NO_JSON: Mapping[str, bytes] = {
    "empty": b"",
    "blank": b" \n\t ",
    "text": b"hello",
    "a tag": b"<document id='a'/>",
    "yaml": b"id: a\ntitle: x",
    "form": b"id=a&title=x",
    "single quotes": b"{'id': 'a', 'title': 'x'}",
    "trailing comma": b'{"id": "a", "title": "x",}',
    "comment": b'{"id": "a" /* mine */, "title": "x"}',
    "two values": b'{"id": "a", "title": "x"} {"id": "b", "title": "y"}',
    "two lines": b'{"id": "a", "title": "x"}\n{"id": "b", "title": "y"}\n',
    "a stray brace": b'{"id": "a", "title": "x"}}',
    "a bare name": b'{id: "a", "title": "x"}',
    "zero byte": b'{"id": "a", "title": "x"}\0',
    "zero bytes": b"\0" * 1_000,
    "control character": b'{"id": "a", "title": "x\x01"}',
    "line end in a text": b'{"id": "a", "title": "x\ny"}',
    "latin-1": '{"id": "a", "title": "Ärger"}'.encode("latin-1"),
    "cut character": b'{"id": "a", "title": "\xe2\x82"}',
    "overlong character": b'{"id": "a", "title": "\xc0\xaf"}',
    "surrogate as bytes": b'{"id": "a", "title": "\xed\xa0\x80"}',
    "bad escape": b'{"id": "a", "title": "\\x41"}',
    "short escape": b'{"id": "a", "title": "\\u00"}',
    "deep list": b"[" * 100_000,
    "deep object": b'{"documents":' * 30_000,
    "a huge number": b'{"id": "a", "title": ' + b"9" * 100_000 + b"}",
    "packed but not said": gzip.compress(_WHOLE),
    "zip": b"PK\x03\x04" + b"\0" * 100,
    "pickle": b"\x80\x04\x95\x10\0\0\0\0\0\0\0\x8c\x05posix\x94.",
    "an image": b"\x89PNG\r\n\x1a\n" + b"\0" * 100,
}
NO_DOCUMENTS: Mapping[str, object] = {
    "null": None,
    "true": True,
    "a number": 17,
    "a text": "document",
    "a list of nothing": [],
    "an empty object": {},
    "no documents": {"documents": []},
    "documents null": {"documents": None},
    "documents an object": {"documents": FINE},
    "documents a text": {"documents": "a"},
    "documents numbers": {"documents": [1, 2]},
    "documents lists": {"documents": [[FINE]]},
    "documents null each": {"documents": [None]},
    "one id twice": {"documents": [FINE, FINE]},
    "an unknown field beside": {"documents": [FINE], "force": True},
    "queries of nobody": {
        "documents": [FINE],
        "synthetic_queries": {"generator": "g", "queries": {"b": ["x"]}},
    },
    "queries without a generator": {"documents": [FINE], "synthetic_queries": {"queries": {}}},
    "queries as a list": {"documents": [FINE], "synthetic_queries": ["x"]},
    "queries as numbers": {
        "documents": [FINE],
        "synthetic_queries": {"generator": "g", "queries": {"a": [1]}},
    },
    "blank queries": {
        "documents": [FINE],
        "synthetic_queries": {"generator": "g", "queries": {"a": [" "]}},
    },
    "evidence of more queries": {
        "documents": [FINE],
        "synthetic_queries": {
            "generator": "g",
            "queries": {"a": {"queries": ["x"], "evidence": [[1, -1], [1, -1]]}},
        },
    },
    "evidence past one": {
        "documents": [FINE],
        "synthetic_queries": {
            "generator": "g",
            "queries": {"a": {"queries": ["x"], "evidence": [[2, -1]]}},
        },
    },
    "id a number": {"id": 1, "title": "x"},
    "id null": {"id": None, "title": "x"},
    "id a list": {"id": ["a"], "title": "x"},
    "id empty": {"id": "", "title": "x"},
    "no id": {"title": "x"},
    "title a number": {"id": "a", "title": 1},
    "title null": {"id": "a", "title": None},
    "title an object": {"id": "a", "title": {"en": "x"}},
    "text null": {"id": "a", "title": "x", "text": None},
    "text a list": {"id": "a", "title": "x", "text": ["x"]},
    "metadata null": {"id": "a", "title": "x", "metadata": None},
    "metadata a list": {"id": "a", "title": "x", "metadata": [1]},
    "metadata a text": {"id": "a", "title": "x", "metadata": "x"},
    "metadata list of numbers": {"id": "a", "title": "x", "metadata": {"a": [1]}},
    "another case": {"ID": "a", "Title": "x"},
    "a prototype": {"id": "a", "title": "x", "__proto__": {"admin": True}},
}
HEADERS: Mapping[str, Mapping[str, str]] = {
    "no type": {},
    "plain text": {"content-type": "text/plain"},
    "form type": {"content-type": "application/x-www-form-urlencoded"},
    "multipart": {"content-type": "multipart/form-data; boundary=x"},
    "xml type": {"content-type": "application/xml"},
    "type of nothing": {"content-type": "/"},
    "gzip said": {**JSON, "content-encoding": "gzip"},
    "brotli said": {**JSON, "content-encoding": "br"},
    "unknown coding": {**JSON, "content-encoding": "rot13"},
    "longer than allowed": {**JSON, "content-length": str(MAX_BODY_BYTES + 1)},
}


def _uploads() -> Iterator[tuple[str, bytes, Mapping[str, str]]]:
    for name, content in NO_JSON.items():
        yield name, content, JSON
    for name, value in {**NO_DOCUMENTS, **REFUSED}.items():
        if name != "bytes":  # is no JSON
            yield name, json.dumps(value).encode(), JSON
    for name, headers in HEADERS.items():
        yield name, _WHOLE, headers
    for length in range(1, len(_WHOLE), 6):
        yield f"cut after {length} bytes", _WHOLE[:length], JSON
    yield "too large", b" " * MAX_BODY_BYTES + _WHOLE, JSON
    yield "a bomb", gzip.compress(b" " * 10_000_000 + _WHOLE), {**JSON, "content-encoding": "gzip"}


UPLOADS = list(_uploads())


@pytest.fixture(scope="module")
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture(scope="module")
def client(store: MemoryStore) -> Iterator[TestClient]:
    dispatcher = Dispatcher(store, FakeQueue(), batch_size=2, seconds=60)
    settings = AugmentationSettings(max_body_bytes=MAX_BODY_BYTES)
    with TestClient(build_app(settings, store, dispatcher)) as client:
        yield client


def test_there_are_a_hundred_of_them_and_all_differ() -> None:
    assert len(UPLOADS) >= 100
    assert len({(content, str(headers)) for _, content, headers in UPLOADS}) == len(UPLOADS)


@pytest.mark.parametrize(
    ("content", "headers"),
    [(content, headers) for _, content, headers in UPLOADS],
    ids=[name for name, _, _ in UPLOADS],
)
def test_a_malformed_upload_is_one_clear_problem_and_nothing_is_kept(
    client: TestClient, store: MemoryStore, content: bytes, headers: Mapping[str, str]
) -> None:
    answer: httpx.Response = client.post("/v1/documents", content=content, headers=headers)

    problem = answer.json()
    assert answer.status_code in (400, 413, 415, 422)
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["status"] == answer.status_code
    assert problem["type"].startswith("urn:skim:problem:")
    assert 0 < len(problem["detail"]) < 500
    counts = store.counts()
    assert (counts.documents, counts.accepted, counts.jobs) == (0, 0, {})
