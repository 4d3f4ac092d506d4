from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from services.inference import live_ads as module
from services.inference.live_ads import LiveAds, Upkeep
from services.inference.retriever import explain, top
from shared import record_file
from shared.contracts.inference import AdPatch
from shared.errors import Damaged, InvalidInput, Unavailable
from tests.support.encoders import BagOfWordsEncoder
from tests.support.generations import ad, generation

BASE = [ad("red-wine"), ad("white-wine"), ad("fishing-boat"), ad("kitchen-knife")]


class Opened:
    """The ads of a folder, opened and closed as a process would."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._last: LiveAds | None = None

    def __call__(self, bundle: object = None, upkeep: Upkeep | None = None) -> LiveAds:
        if self._last is not None:
            self._last.close()
        self._last = LiveAds(self._folder, upkeep)
        self._last.serve(bundle or generation("v1", BASE))
        return self._last


@pytest.fixture
def opened(tmp_path: Path) -> Opened:
    return Opened(tmp_path / "ads")


def found(ads: LiveAds, query: str, k: int = 100) -> list[str]:
    assert ads.view is not None
    return [each["id"] for each in top(ads.view, query, k).ads]


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


def test_an_ad_changed_again_and_again_does_not_grow_for_ever(opened: Opened) -> None:
    ads = opened(upkeep=Upkeep(recent=1_000, dead=50, journal_bytes=1_000))
    for price in range(200):
        ads.patch([AdPatch(id="red-wine", metadata={"price": price})])
        if ads.needs_upkeep:
            ads.keep_up()

    assert len(ads.view.is_live) < 4 + 60
    assert found(ads, "red wine", 1) == ["red-wine"]


def test_a_journal_written_anew_says_the_same(opened: Opened, tmp_path: Path) -> None:
    ads = opened()
    for number in range(50):
        ads.put([ad("wooden-house", number=number), ad(f"thing-{number % 3}", n=number)])
    ads.delete(["red-wine", "thing-0"])
    journal = tmp_path / "ads" / "journal.bin"
    before, size = sorted(found(ads, "thing")), journal.stat().st_size
    ads.compact()
    ads.put([ad("later")])

    assert journal.stat().st_size < size / 5
    again = opened()
    assert sorted(found(again, "thing")) == sorted([*before, "later"])
    assert b'"number":49' in again.view.row(again.document("wooden-house")[1])


def test_what_is_appended_while_the_journal_is_written_anew_is_kept(opened: Opened) -> None:
    ads = opened()
    ads.put([ad("before")])
    rewriter = ads._journal.rewriter(dict(ads._entries))
    rewriter.write()
    ads.put([ad("meanwhile")])
    ads.delete(["before"])
    rewriter.replace()

    again = found(opened(), "meanwhile")
    assert "meanwhile" in again
    assert "before" not in again


def test_the_first_change_is_kept_while_an_empty_journal_is_written_anew(opened: Opened) -> None:
    ads = opened()
    rewriter = ads._journal.rewriter({})
    rewriter.write()
    ads.put([ad("meanwhile")])
    rewriter.replace()

    assert "meanwhile" in found(opened(), "meanwhile")


def test_changes_made_while_a_generation_is_loaded_are_in_it(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    ads = opened()
    changing = iter(range(3))

    class Meanwhile(module.Catalogue):
        """Changes happen while it is built."""

        def __init__(self, *args: object, **settings: object) -> None:
            super().__init__(*args, **settings)
            if next(changing, None) is not None:
                ads.put([ad(f"new-{number}") for number in range(20)])
                ads.delete(["red-wine"])

    monkeypatch.setattr(module, "Catalogue", Meanwhile)
    ads.serve(generation("v2", BASE))

    assert ads.view.generation.name == "v2"
    assert {f"new-{number}" for number in range(20)} <= set(found(ads, "new 7"))
    assert "red-wine" not in found(ads, "red wine")
    assert ads.view.live == len(found(ads, "x")) == 23


def test_a_second_process_reads_and_does_not_change(opened: Opened, tmp_path: Path) -> None:
    first = opened()
    first.put([ad("wooden-house")])
    second = LiveAds(tmp_path / "ads")
    second.serve(generation("v1", BASE))

    assert found(second, "wooden house", 1) == ["wooden-house"]
    with pytest.raises(Unavailable, match="another process"):
        second.delete(["wooden-house"])
    first.delete(["red-wine"])
    first.close()
    second.serve(generation("v1", BASE))
    second.delete(["wooden-house"])
    assert not {"red-wine", "wooden-house"} & set(found(second, "wooden house"))
    second.close()


CHANGES = """
import sys
from pathlib import Path
from services.inference.live_ads import LiveAds
from tests.support.generations import ad, generation
ads = LiveAds(Path(sys.argv[1]))
ads.serve(generation("v1", [ad("red-wine")]))
for number in range(10_000):
    ads.put([ad(f"thing-{number}")])
    if number % 3 == 0:
        ads.delete([f"thing-{number}"])
    if number % 50 == 49:
        ads.compact()
    print("done", number, flush=True)
"""


def test_a_killed_process_loses_nothing_it_acknowledged(tmp_path: Path) -> None:
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", CHANGES, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    acknowledged = -1
    with process.stdout:
        for line in process.stdout:
            if line.startswith("done ") and line.endswith("\n"):
                acknowledged = int(line.split()[1])
            if acknowledged == 120:
                process.kill()
        process.wait()

    ads = LiveAds(tmp_path)
    ads.serve(generation("v1", [ad("red-wine")]))
    there = set(found(ads, "thing", 20_000))
    assert {f"thing-{number}" for number in range(acknowledged + 1) if number % 3} <= there
    assert not {f"thing-{number}" for number in range(acknowledged + 1) if number % 3 == 0} & there
    ads.close()


@pytest.mark.parametrize("cut", [1, 7, 40])
def test_a_journal_cut_off_by_a_crash_loses_only_what_was_not_acknowledged(
    opened: Opened, tmp_path: Path, cut: int
) -> None:
    opened().put([ad("kept")])
    ads = opened()
    ads.put([ad("cut")])
    ads.close()
    journal = tmp_path / "ads" / "journal.bin"
    journal.write_bytes(journal.read_bytes()[:-cut])

    there = found(opened(), "kept")
    assert "kept" in there
    assert "cut" not in there


def test_a_journal_with_a_flipped_bit_is_never_taken_for_a_good_one(
    opened: Opened, tmp_path: Path
) -> None:
    ads = opened()
    ads.put([ad("one")])
    ads.delete(["red-wine"])
    ads.close()
    journal = tmp_path / "ads" / "journal.bin"
    content = journal.read_bytes()
    for place in range(0, len(content), 13):
        flipped = bytearray(content)
        flipped[place] ^= 0x10
        journal.write_bytes(bytes(flipped))
        with pytest.raises(Damaged, match=r"journal\.bin.*restore the file"):
            LiveAds(tmp_path / "ads")
