from pathlib import Path

import numpy as np

from services.training.arm_cache import ArmCache, Ranking

RANKING = Ranking(np.array([[3, 1], [0, 2]]), 0.75, 12.5)


def test_a_ranking_is_read_back_as_it_was(tmp_path: Path) -> None:
    ArmCache(tmp_path / "new").put("key", RANKING)

    kept = ArmCache(tmp_path / "new").get("key")

    assert kept is not None
    assert (kept.documents == RANKING.documents).all()
    assert (kept.documents.dtype, kept.mixing_weight, kept.seconds) == (np.int64, 0.75, 12.5)
    assert ArmCache(tmp_path / "new").get("other") is None


def test_a_fresh_cache_writes_and_does_not_read(tmp_path: Path) -> None:
    fresh = ArmCache(tmp_path, is_fresh=True)
    fresh.put("key", RANKING)

    assert fresh.get("key") is None
    assert ArmCache(tmp_path).get("key") is not None


def test_a_damaged_file_is_as_good_as_none(tmp_path: Path) -> None:
    ArmCache(tmp_path).put("key", RANKING)
    [file] = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:100])

    assert ArmCache(tmp_path).get("key") is None


def test_without_a_folder_nothing_is_kept() -> None:
    cache = ArmCache()
    cache.put("key", RANKING)

    assert cache.get("key") is None
