from array import array

import pytest

from services.inference.positions import AdPositions
from shared.errors import Damaged

ROWS = [b'{"id": "%b", "title": "x"}' % name for name in (b"oboe", b"canoe", b"ax")]


def positions(hashes: list[int], rows: list[bytes] = ROWS) -> AdPositions:
    return AdPositions(rows, array("q", hashes))


def test_each_ad_is_found_where_it_is_and_no_other() -> None:
    found = positions([hash(each) for each in ("oboe", "canoe", "ax")])

    assert dict(found) == {"oboe": 0, "canoe": 1, "ax": 2}
    assert (found.get("axe"), "axe" in found, len(found)) == (None, False, 3)
    with pytest.raises(KeyError):
        found["axe"]


def test_ids_of_one_hash_are_told_apart() -> None:
    same = hash("canoe")
    found = positions([same, same, same])

    assert found["canoe"] == 1
    assert "canoe" in found
    assert "axe" not in found


def test_an_id_that_occurs_twice_is_damage_whatever_else_has_its_hash() -> None:
    rows = [ROWS[0], ROWS[1], ROWS[0]]
    with pytest.raises(Damaged, match="'oboe' occurs twice"):
        positions([7, 7, 7], rows)


def test_no_ads_have_no_positions() -> None:
    assert dict(positions([], [])) == {}
