from __future__ import annotations

from pathlib import Path

import pytest

from services.inference.live_ads import LiveAds, Upkeep
from services.inference.retriever import explain, top
from shared import record_file
from shared.contracts.inference import AdPatch
from shared.errors import InvalidInput, Unavailable
from tests.support.encoders import BagOfWordsEncoder
from tests.support.generations import ad, generation
from tests.support.live_ads import BASE, Opened, found


def test_a_new_ad_is_found_by_the_next_query_and_after_a_restart(opened: Opened) -> None:
    ads = opened()
    changed = ads.put([ad("wooden-house")])

    assert (changed.added, changed.ads) == (1, 5)
    assert found(ads, "wooden house", 1) == ["wooden-house"]
    assert found(opened(), "wooden house", 1) == ["wooden-house"]


def test_a_restart_encodes_no_ad_anew(opened: Opened) -> None:
    opened().put([ad("wooden-house")])
    encoder = BagOfWordsEncoder()
    bundle = generation("v1", BASE, encoder=encoder)
    encoder.calls.clear()

    opened(bundle)

    assert encoder.calls == []


def test_a_deleted_ad_comes_back_with_no_restart_and_no_bundle(opened: Opened) -> None:
    ads = opened()
    assert ads.delete(["red-wine", "no-such-ad"]).model_dump(exclude_defaults=True) == {
        "ads_version": ads.view.version,
        "ads": 3,
        "removed": 1,
        "unknown": 1,
    }

    assert "red-wine" not in found(ads, "red wine")
    assert "red-wine" not in found(opened(), "red wine")
    other = opened(generation("v2", [*BASE, ad("no-such-ad")]))
    assert not {"red-wine", "no-such-ad"} & set(found(other, "red wine"))


def test_a_deleted_ad_that_is_put_again_is_served_again(opened: Opened) -> None:
    ads = opened()
    ads.delete(["red-wine"])
    ads.put([ad("red-wine")])

    assert found(ads, "red wine", 1) == ["red-wine"]
    assert found(opened(), "red wine", 1) == ["red-wine"]


def test_who_repeats_what_was_said_before_a_deletion_does_not_undo_it(opened: Opened) -> None:
    ads = opened()
    ads.put([ad("wooden-house")])
    ads.delete(["wooden-house"])

    assert ads.put([ad("wooden-house")], unless_deleted=True).refused == 1
    assert "wooden-house" not in found(ads, "wooden house")
    assert ads.put([ad("wooden-house", "brick house")], unless_deleted=True).added == 1
    assert found(ads, "brick house", 1) == ["wooden-house"]


def test_what_is_put_before_anything_is_served_is_found_with_the_first_bundle(
    tmp_path: Path,
) -> None:
    ads = LiveAds(tmp_path / "ads")
    assert ads.put([ad("wooden-house"), ad("gone")]).added == 2
    ads.patch([AdPatch(id="wooden-house", metadata={"price": 3})])
    ads.delete(["gone", "red-wine"])
    ads.serve(generation("v1", BASE))

    assert found(ads, "wooden house", 1) == ["wooden-house"]
    assert not {"gone", "red-wine"} & set(found(ads, "red wine"))
    ads.close()


def test_the_same_content_again_changes_nothing(opened: Opened) -> None:
    ads = opened()
    first = ads.put([ad("wooden-house")])
    second = ads.put([ad("wooden-house")])

    assert (second.unchanged, second.added, second.ads_version) == (1, 0, first.ads_version)


def test_an_ad_that_was_put_as_the_bundle_has_it_outlives_the_bundle(opened: Opened) -> None:
    ads = opened()
    assert ads.put([BASE[0]]).unchanged == 1
    assert len(found(ads, "red wine")) == 4

    assert found(opened(generation("v2", BASE[1:])), "red wine", 1) == ["red-wine"]


def test_a_new_ad_has_its_trained_vector_with_the_next_bundle(opened: Opened) -> None:
    ads = opened()
    ads.put([ad("wooden-house", color="red")])
    assert ads.changed == (1, 1)
    before = explain(*ads.document("wooden-house"), "wooden house")
    encoder = BagOfWordsEncoder()
    trained = generation("v2", [*BASE, ad("wooden-house", color="red")], encoder=encoder)
    ads.serve(trained)

    after = explain(*ads.document("wooden-house"), "wooden house")
    assert (before.vector, after.vector) == ("cold_start", "trained")
    assert ads.changed == (0, 0)
    assert found(ads, "wooden house").count("wooden-house") == 1


def test_back_to_a_bundle_without_it_the_ad_stays(opened: Opened) -> None:
    first = generation("v1", BASE)
    ads = opened(first)
    ads.put([ad("wooden-house")])
    ads.serve(generation("v2", [*BASE, ad("wooden-house")]))
    ads.serve(first)

    assert found(ads, "wooden house", 1) == ["wooden-house"]
    assert found(opened(first), "wooden house", 1) == ["wooden-house"]


def test_another_encoder_makes_the_vectors_of_new_ads_anew(opened: Opened) -> None:
    ads = opened()
    ads.put([ad("wooden-house")])
    other = generation("v2", BASE, encoder=BagOfWordsEncoder("words-2", dimensions=32))
    ads.serve(other)

    assert found(ads, "wooden house", 1) == ["wooden-house"]
    assert ads.document("wooden-house")[0].vector(4).shape == (32,)


def test_other_metadata_keep_the_trained_vector_and_another_title_does_not(opened: Opened) -> None:
    ads = opened()
    ads.patch([AdPatch(id="red-wine", metadata={"price": 3})])
    assert explain(*ads.document("red-wine"), "red wine").vector == "trained"
    ads.patch([AdPatch(id="red-wine", title="dry red wine")])

    assert explain(*ads.document("red-wine"), "red wine").vector == "cold_start"
    assert found(ads, "dry red wine", 1) == ["red-wine"]
    assert ads.document("red-wine")[0].live == 4


def test_a_patch_changes_what_it_names_and_nothing_else(opened: Opened) -> None:
    ads = opened()
    ads.put([ad("wooden-house", price=3, color="red")])
    changed = ads.patch(
        [
            AdPatch(id="wooden-house", metadata={"price": 4, "color": None, "new": True}),
            AdPatch(id="no-such-ad", title="x"),
        ]
    )

    assert (changed.changed, changed.unknown) == (1, 1)
    view, position = ads.document("wooden-house")
    assert b'"title":"wooden house"' in view.row(position)
    assert b'"metadata":{"price":4,"new":true}' in view.row(position)


def test_all_or_nothing_of_a_change(opened: Opened) -> None:
    ads = opened()
    ads.put([ad("green-wine", price=3)])
    version = ads.view.version
    with pytest.raises(InvalidInput, match="occurs twice"):
        ads.put([ad("a"), ad("a")])
    too_much = {f"field {number}": 1 for number in range(101)}
    with pytest.raises(InvalidInput, match="'red-wine': metadata"):
        ads.patch([AdPatch(id="white-wine", title="x"), AdPatch(id="red-wine", metadata=too_much)])

    assert ads.view.version == version
    assert found(ads, "x") == found(opened(), "x")


def test_what_the_disk_refused_was_not_changed(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    ads = opened()
    ads.put([ad("kept")])

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(record_file.os, "fsync", full)
    with pytest.raises(Unavailable, match="No space left"):
        ads.put([ad("lost")])
    monkeypatch.undo()

    assert "lost" not in found(ads, "lost")
    ads.put([ad("after")])
    assert {"kept", "after"} <= set(found(opened(), "kept"))


def test_an_older_view_is_not_touched_by_later_changes(opened: Opened) -> None:
    ads = opened()
    ads.put([ad("wooden-house")])
    before = ads.view
    ads.delete(["wooden-house", "red-wine"])
    ads.put([ad(f"thing-{number}") for number in range(200)])

    old = [each["id"] for each in top(before, "wooden house", 100).ads]
    assert set(old) == {"wooden-house", *(each.id for each in BASE)}


def test_upkeep_gives_recent_ads_an_index_and_loses_none(opened: Opened) -> None:
    ads = opened(upkeep=Upkeep(recent=5))
    ads.put([ad(f"thing-{number}") for number in range(9)])
    ads.delete(["thing-3", "red-wine"])
    assert ads.needs_upkeep
    before = found(ads, "thing 4")
    ads.keep_up()

    assert not ads.needs_upkeep
    assert ads.view.extra is not None
    assert sorted(found(ads, "thing 4")) == sorted(before)
    ads.put([ad("thing-4", "another thing")])
    ads.delete(["thing-5"])
    assert sorted(found(ads, "thing 4")) == sorted(set(before) - {"thing-5"})
