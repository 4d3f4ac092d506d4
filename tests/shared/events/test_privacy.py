from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shared.errors import Damaged, NotFound
from shared.events.privacy import ERASED, KEY, What, erase, erasures, make_key, read_key
from tests.support.events import NOON, event_of

EARLIER, LATER = "2026-11-25T11:59:59.999Z", "2026-11-25T12:00:00.001Z"


def test_the_key_is_made_once_whoever_asks(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        hashes = {keyed.hash("client", "ann") for keyed in pool.map(make_key, [tmp_path] * 8)}

    assert len(hashes) == 1
    assert read_key(tmp_path).hash("client", "ann") in hashes
    assert (tmp_path / KEY).stat().st_mode & 0o077 == 0
    assert [path.name for path in tmp_path.iterdir()] == [KEY]


def test_another_folder_hashes_otherwise(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()

    one, other = make_key(tmp_path / "a"), make_key(tmp_path / "b")

    assert one.hash("client", "ann") != other.hash("client", "ann")
    assert one.hash("client", "ann") != one.hash("ad", "ann")


def test_a_missing_or_damaged_key_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no events"):
        read_key(tmp_path)
    (tmp_path / KEY).write_bytes(b"short")
    with pytest.raises(Damaged, match="expected 32"):
        read_key(tmp_path)


def test_a_seal_is_of_all_its_parts_in_their_order(tmp_path: Path) -> None:
    keyed = make_key(tmp_path)
    seal = keyed.seal("a", "bc")

    assert keyed.is_seal(seal, "a", "bc")
    assert not keyed.is_seal(seal, "ab", "c")
    assert not keyed.is_seal(seal, "bc", "a")
    assert not keyed.is_seal("é" * 16, "a", "bc")


@pytest.mark.parametrize(
    ("what", "value"), [("query", " Fishing  BOAT"), ("ad", "boat"), ("client", "ann")]
)
def test_what_is_erased_is_forgotten_up_to_then_and_not_kept_by_name(
    tmp_path: Path, what: What, value: str
) -> None:
    keyed = make_key(tmp_path)
    ann = keyed.hash("client", "ann")
    erase(tmp_path, keyed, what, value, NOON)
    erase(tmp_path, keyed, what, value, EARLIER)

    is_erased = erasures(tmp_path)

    assert is_erased(event_of(client=ann))
    assert is_erased(event_of(client=ann, time=EARLIER))
    assert not is_erased(event_of(client=ann, time=LATER))
    assert not is_erased(event_of(query="x", ad="y", client="z"))
    assert value.strip().lower() not in (tmp_path / ERASED).read_text().lower()


def test_nothing_is_erased_unless_asked(tmp_path: Path) -> None:
    assert not erasures(tmp_path)(event_of())
