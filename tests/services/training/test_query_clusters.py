import numpy as np
import pytest
from numpy.typing import NDArray

from services.training.query_clusters import cluster


def around(*angles: float) -> NDArray[np.float32]:
    radians = np.radians(angles)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def test_what_points_the_same_way_is_one_cluster() -> None:
    clusters = cluster(around(0, 90, 4, 94, 2), 2)

    assert clusters.of[0] == clusters.of[2] == clusters.of[4]
    assert clusters.of[1] == clusters.of[3] != clusters.of[0]


def test_the_nearest_to_a_centre_come_first() -> None:
    clusters = cluster(around(0, 90, 4, 94, 2), 2)

    assert clusters.nearest(int(clusters.of[0]), 2)[0] == 4
    assert len(clusters.nearest(int(clusters.of[0]), 2)) == 2
    assert clusters.cosine[4] == pytest.approx(1, abs=1e-6)


def test_there_are_as_many_as_the_square_root_says() -> None:
    assert cluster(around(*range(0, 180, 5))).count == 6


def test_the_same_seed_gives_the_same_clusters() -> None:
    vectors = around(*range(0, 180, 5))

    assert cluster(vectors, seed=3).of.tolist() == cluster(vectors, seed=3).of.tolist()


def test_copies_fewer_than_the_clusters_asked_for_are_no_failure() -> None:
    clusters = cluster(around(30, 30, 30), 3)

    assert len(set(clusters.of.tolist())) == 1


def test_no_vectors_are_no_clusters() -> None:
    assert cluster(np.empty((0, 2), np.float32)).count == 0
