from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from services.inference import live_ads as module
from services.inference.live_ads import LiveAds, Upkeep
from shared.contracts.inference import AdPatch
from shared.errors import Damaged, Unavailable
from tests.support.generations import ad, generation
from tests.support.live_ads import BASE, Opened, found


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
