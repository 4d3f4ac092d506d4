import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from loadtests.peers.inference.protocol import (
    EFS,
    WANTED_RECALL,
    Width,
    read_width,
    shares_found,
    smallest_width,
)
from loadtests.peers.process import peer_environment
from shared import index_choice
from tests.support.rivals import COMMAND, tiny_catalogue

VECTORS = np.array([[1, 0], [0.9, 0], [0.9, 0], [0.5, 0], [0, 1]], dtype=np.float32)
QUERY = np.array([[1, 0]], dtype=np.float32)


@pytest.mark.parametrize(
    ("found", "share"),
    [
        ([0, 1], 1.0),
        ([0, 2], 1.0),  # as good as ad 1
        ([2, 1], 0.5 * 2),
        ([0, 3], 0.5),
        ([0, 0], 0.5),  # named twice, counted once
        ([0], 0.5),
        ([], 0.0),
        ([4, 3, 0], 0.0),  # what comes after k places is not looked at
    ],
)
def test_an_answer_counts_the_places_that_are_as_good_as_the_exact_ones(
    found: list[int], share: float
) -> None:
    assert shares_found(VECTORS, QUERY, [found], k=2).tolist() == [share]


def test_the_smallest_width_with_enough_recall_is_chosen(tmp_path: Path) -> None:
    catalogue = tiny_catalogue(tmp_path)
    asked = []

    def _search(ef: int, query: np.ndarray) -> list[int]:
        asked.append(ef)
        best = np.argsort(-(catalogue.vectors @ query))[:10].tolist()
        return best if ef >= 128 else best[:9]

    assert smallest_width(catalogue, _search) == Width(128, 1.0)
    assert sorted(set(asked)) == [ef for ef in EFS if ef <= 128]


def test_rivals_are_chosen_as_wide_as_ours() -> None:
    assert (WANTED_RECALL, EFS) == (index_choice.MIN_RECALL, index_choice.EFS)


def test_the_widest_is_taken_where_none_finds_enough(tmp_path: Path) -> None:
    width = smallest_width(tiny_catalogue(tmp_path), lambda ef, query: [])

    assert width == Width(EFS[-1], 0.0)


def test_a_rival_builds_its_index_in_its_own_process_and_says_how_wide_it_searches(
    tmp_path: Path,
) -> None:
    catalogue, folder = tiny_catalogue(tmp_path), tmp_path / "index"
    folder.mkdir()

    subprocess.run(  # noqa: S603
        [*COMMAND, "build", str(catalogue.folder), str(folder)],
        env=peer_environment({}),
        check=True,
    )

    assert read_width(folder) == Width(EFS[0], 1.0)
    assert json.loads((folder / "width.json").read_text()) == {"ef": 32, "recall_at_10": 1.0}
    assert (folder / "built").exists()
