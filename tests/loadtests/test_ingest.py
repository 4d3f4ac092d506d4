import os

import pytest

from loadtests.ingest import blocks, figures_of, is_flat, peak_resident_bytes
from shared.contracts.augmentation import UploadedDocument

_MEBIBYTE = 2**20


@pytest.mark.parametrize("documents", [1, 999, 1_000, 2_500])
def test_so_many_distinct_documents_are_made(documents: int) -> None:
    lines = b"".join(blocks("d", documents)).splitlines()

    made = [UploadedDocument.model_validate_json(line) for line in lines]
    assert (
        len({each.id for each in made}) == len({each.content_hash for each in made}) == documents
    )


def test_speed_and_memory_are_told_in_documents_seconds_and_mebibytes() -> None:
    samples = [50 * _MEBIBYTE, 60 * _MEBIBYTE, *[61 * _MEBIBYTE] * 17, 62 * _MEBIBYTE]

    own = [30 * _MEBIBYTE, 40 * _MEBIBYTE, *[35 * _MEBIBYTE] * 18]

    assert figures_of(3_000, 1.5, samples, own) == {
        "documents": 3_000,
        "seconds": 1.5,
        "ingest_documents_per_second": 2_000,
        "api_rss_mb_before": 50.0,
        "api_rss_mb_after_a_tenth": 60.0,
        "api_peak_rss_mb": 62.0,
        "client_rss_mb_after_a_tenth": 40.0,
        "client_peak_rss_mb": 40.0,
    }


def test_a_run_too_short_to_be_watched_has_figures_too() -> None:
    figures = figures_of(1, 0.001, [_MEBIBYTE], [_MEBIBYTE])

    assert figures["api_rss_mb_after_a_tenth"] == figures["api_peak_rss_mb"] == 1.0


@pytest.mark.parametrize(("last", "expected"), [(100, True), (109, True), (120, False)])
def test_memory_that_grows_with_the_upload_is_noticed(last: int, expected: bool) -> None:
    flat = [100 * _MEBIBYTE] * 20
    samples = [each * _MEBIBYTE for each in (80, 100, *[100] * 17, last)]

    assert is_flat(figures_of(1, 1.0, samples, flat)) is expected
    assert is_flat(figures_of(1, 1.0, flat, samples)) is expected


def test_the_most_memory_a_process_had_is_read_from_the_system() -> None:
    held = b"x" * 50 * _MEBIBYTE
    peak = peak_resident_bytes(os.getpid())
    del held

    assert peak >= 50 * _MEBIBYTE
