"""Synthetic queries give a new ad a place before training has seen it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import orjson
import pytest

from services.inference import ad_journal
from services.inference.live_ads import LiveAds
from services.inference.retriever import explain
from shared.cold_start import ColdStart, cold_start_of
from shared.contracts.inference import AdPatch
from shared.errors import Damaged
from shared.record_file import RecordFile
from tests.support.encoders import BagOfWordsEncoder
from tests.support.generations import ad, generation
from tests.support.live_ads import BASE, Opened, found

HALF = cold_start_of("title").model_copy(update={"queries_share": 0.5})
ASKED = ["somewhere to live", "cheap home"]


def learned(name: str, *more: object, cold_start: ColdStart = HALF) -> object:
    return generation(name, [*BASE, *more], cold_start=cold_start)


def vector_of(ads: LiveAds, ad_id: str) -> np.ndarray:
    view, position = ads.document(ad_id)
    return view.vector(position)


def start_of(title: str, asked: list[str]) -> np.ndarray:
    encoder = BagOfWordsEncoder()
    mean = encoder.encode(asked).sum(axis=0)
    vector = encoder.encode([title])[0] + mean / np.linalg.norm(mean)
    return vector / np.linalg.norm(vector)


def test_an_ad_is_found_by_the_words_of_its_synthetic_queries(opened: Opened) -> None:
    ads = opened(learned("v1"))
    ads.put([ad("wooden-house", asked=ASKED)])

    assert found(ads, "cheap home", 1) == ["wooden-house"]
    assert vector_of(ads, "wooden-house") == pytest.approx(
        start_of("wooden house", ASKED), abs=1e-6
    )
    assert found(opened(learned("v1")), "cheap home", 1) == ["wooden-house"]


def test_a_bundle_that_does_not_begin_with_queries_does_not_read_them(opened: Opened) -> None:
    ads = opened()
    ads.put([ad("wooden-house", asked=ASKED)])
    embedding = BagOfWordsEncoder().encode(["wooden house"])[0]
    assert vector_of(ads, "wooden-house") == pytest.approx(embedding)
    ads.serve(learned("v2"))

    assert found(ads, "cheap home", 1) == ["wooden-house"]


def test_an_ad_is_moved_as_the_served_bundle_moved_others_and_one_without_queries_is_not(
    opened: Opened,
) -> None:
    ads = opened(learned("v1"))
    ads.put([ad("wooden-house", asked=ASKED), ad("brick-house")])
    start, embedding = vector_of(ads, "wooden-house"), vector_of(ads, "brick-house")
    for number, name in enumerate(("v2", "v3"), start=1):
        shift = [0.25 * number] * 64
        ads.serve(learned(name, cold_start=HALF.model_copy(update={"shift": shift})))
        assert vector_of(ads, "wooden-house") == pytest.approx(start + np.float32(0.25 * number))
        assert vector_of(ads, "brick-house") == pytest.approx(embedding)


def test_a_bundle_with_another_shift_encodes_nothing(opened: Opened) -> None:
    ads = opened(learned("v1"))
    ads.put([ad("wooden-house", asked=ASKED)])
    encoder = BagOfWordsEncoder()
    shifted = HALF.model_copy(update={"shift": [1.0] * 64})
    bundle = generation("v2", BASE, encoder=encoder, cold_start=shifted)
    encoder.calls.clear()
    ads.serve(bundle)

    assert encoder.calls == []


def test_a_shift_of_other_dimensions_is_damaged() -> None:
    with pytest.raises(Damaged, match="moved by 3 numbers, expected 64"):
        learned("v1", cold_start=HALF.model_copy(update={"shift": [1.0] * 3}))


def test_synthetic_queries_that_come_later_are_a_change_and_the_same_again_are_none(
    opened: Opened,
) -> None:
    ads = opened(learned("v1"))
    ads.put([ad("wooden-house")])

    assert ads.put([ad("wooden-house", asked=ASKED)]).changed == 1
    assert found(ads, "cheap home", 1) == ["wooden-house"]
    assert ads.put([ad("wooden-house", asked=ASKED)]).unchanged == 1
    assert ads.put([ad("wooden-house", asked=["brick"])]).changed == 1
    assert found(ads, "brick", 1) == ["wooden-house"]


def test_without_synthetic_queries_a_put_or_patch_keeps_those_of_the_same_text(
    opened: Opened,
) -> None:
    ads = opened(learned("v1"))
    ads.put([ad("wooden-house", asked=ASKED)])
    assert ads.put([ad("wooden-house")]).unchanged == 1
    assert ads.put([ad("wooden-house", price=3)]).changed == 1
    ads.patch([AdPatch(id="wooden-house", metadata={"price": 4})])

    assert found(ads, "cheap home", 1) == ["wooden-house"]
    ads.patch([AdPatch(id="wooden-house", title="brick house")])
    assert explain(*ads.document("wooden-house"), "cheap home").taught_by is None


def test_an_empty_list_takes_them_away(opened: Opened) -> None:
    ads = opened(learned("v1"))
    ads.put([ad("wooden-house", asked=ASKED)])

    assert ads.put([ad("wooden-house", asked=[])]).changed == 1
    assert explain(*ads.document("wooden-house"), "cheap home").taught_by is None


def test_a_trained_ad_keeps_its_vector_and_its_queries_wait_for_a_bundle_without_it(
    opened: Opened,
) -> None:
    ads = opened(learned("v1", ad("wooden-house")))
    before = vector_of(ads, "wooden-house")
    assert ads.put([ad("wooden-house", asked=ASKED)]).unchanged == 1
    assert (vector_of(ads, "wooden-house") == before).all()

    assert found(opened(learned("v2")), "cheap home", 1) == ["wooden-house"]


def test_an_explanation_adds_up_and_names_the_synthetic_queries(opened: Opened) -> None:
    shifted = HALF.model_copy(update={"shift": [0.1] * 64})
    ads = opened(learned("v1", cold_start=shifted))
    ads.put([ad("wooden-house", asked=ASKED)])

    why = explain(*ads.document("wooden-house"), "cheap home")

    parts = why.parts
    assert parts.synthetic_queries > parts.document_embedding
    assert parts.document_embedding + parts.synthetic_queries + parts.classifier == pytest.approx(
        why.inner_product
    )
    asked = BagOfWordsEncoder().encode(["cheap home"])[0]
    assert parts.classifier == pytest.approx(0.1 * asked.sum(), abs=1e-5)
    assert why.taught_by.synthetic_queries == ASKED
    assert why.taught_by.totals == (0, 0, 2)


def test_a_journal_of_format_1_is_read_and_gone_on_with(opened: Opened, tmp_path: Path) -> None:
    ads = opened(learned("v1"))
    ads.put([ad("brick-house")])
    ads.close()
    path = tmp_path / "ads" / "journal.bin"
    payloads = [payload for _, payload in RecordFile(path).read()]
    path.unlink()
    old = RecordFile(path)
    for payload in [orjson.dumps({"format": 1}) + b"\n", *payloads[1:]]:
        old.append(payload)

    ads = opened(learned("v1"))
    assert "brick-house" in found(ads, "brick house")
    ads.put([ad("wooden-house", asked=ASKED)])
    ads.put([ad("straw-house", asked=ASKED)])

    heads = [payload for _, payload in RecordFile(path).read() if payload.startswith(b"{")]
    assert heads == [ad_journal._OLD_FORMAT, ad_journal._FORMAT]
    again = opened(learned("v1"))
    assert set(found(again, "cheap home", 2)) == {"wooden-house", "straw-house"}
    again.compact()
    assert set(found(opened(learned("v1")), "cheap home", 2)) == {"wooden-house", "straw-house"}


def test_a_journal_of_a_later_format_is_refused(opened: Opened, tmp_path: Path) -> None:
    opened().close()
    path = tmp_path / "ads" / "journal.bin"
    path.unlink(missing_ok=True)
    RecordFile(path).append(orjson.dumps({"format": 3}) + b"\n")

    with pytest.raises(Damaged, match="not a format this version reads"):
        opened()
