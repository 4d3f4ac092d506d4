from pathlib import Path

import numpy as np

from services.training.embeddings import CachedEncoder
from tests.support.encoders import BagOfWordsEncoder

TEXTS = [f"text number {number}" for number in range(600)]


def test_vectors_are_the_encoders_own_in_the_order_given() -> None:
    encoder = BagOfWordsEncoder()

    vectors = CachedEncoder(encoder).encode(TEXTS, max_tokens=8)

    assert (vectors == encoder.encode(TEXTS, max_tokens=8)).all()


def test_a_text_is_encoded_once_whatever_it_comes_with() -> None:
    encoder = BagOfWordsEncoder()
    cached = CachedEncoder(encoder)
    cached.encode(TEXTS[:3], max_tokens=8)

    cached.encode(TEXTS[2:4], max_tokens=8)
    cached.encode([TEXTS[1], TEXTS[1]], max_tokens=8)

    assert encoder.calls == [TEXTS[:3], TEXTS[3:4]]


def test_a_text_cut_elsewhere_is_another_text() -> None:
    encoder = BagOfWordsEncoder()
    cached = CachedEncoder(encoder)

    whole, cut = (cached.encode(TEXTS[:1], max_tokens=tokens) for tokens in (8, 2))

    assert not (whole == cut).all()


def test_vectors_on_disk_serve_the_next_run(tmp_path: Path) -> None:
    first = CachedEncoder(BagOfWordsEncoder(), tmp_path).encode(TEXTS, max_tokens=8)
    encoder = BagOfWordsEncoder()

    again = CachedEncoder(encoder, tmp_path).encode(TEXTS, max_tokens=8)

    assert (again == first).all()
    assert encoder.calls == []


def test_another_encoder_does_not_take_its_predecessors_vectors(tmp_path: Path) -> None:
    CachedEncoder(BagOfWordsEncoder("old"), tmp_path).encode(TEXTS, max_tokens=8)
    encoder = BagOfWordsEncoder("new")

    CachedEncoder(encoder, tmp_path).encode(TEXTS, max_tokens=8)

    assert encoder.calls


def test_a_cut_file_is_computed_again(tmp_path: Path) -> None:
    first = CachedEncoder(BagOfWordsEncoder(), tmp_path).encode(TEXTS, max_tokens=8)
    [file] = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:200])

    assert (
        CachedEncoder(BagOfWordsEncoder(), tmp_path).encode(TEXTS, max_tokens=8) == first
    ).all()


def test_no_texts_give_no_vectors() -> None:
    vectors = CachedEncoder(BagOfWordsEncoder()).encode([], max_tokens=8)

    assert (vectors.shape, vectors.dtype) == ((0, 64), np.float32)


def test_progress_ends_with_all_texts() -> None:
    seen: list[tuple[int, int]] = []

    CachedEncoder(BagOfWordsEncoder()).encode(
        TEXTS, max_tokens=8, progress=lambda done, total: seen.append((done, total))
    )

    assert seen == [(512, 600), (600, 600)]
