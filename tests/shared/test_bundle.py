import json
from pathlib import Path

import numpy as np
import pytest

from shared.ad_index import IndexCard
from shared.bundle import (
    Counts,
    activate,
    current,
    open_bundle,
    previous,
    verify_bundle,
    versions,
    write_bundle,
)
from shared.bundle_facts import Canary, Lessons, ScoreCalibration
from shared.cold_start import cold_start_of
from shared.contracts.document import Document
from shared.encoder import EncoderCard
from shared.errors import Conflict, Damaged, InvalidInput, NotFound

ADS = [
    Document(id="a1", title="oboe", metadata={"kind": "woodwind"}),
    Document(id="a2", title="saw"),
]
VECTORS = np.array([[1, 0, 0], [0, 2, 0]], dtype=np.float32)
COUNTS = Counts(ads=2, train_queries=5, clicks=7, labels=3)


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    folder = tmp_path / "encoder"
    folder.mkdir()
    card = EncoderCard(name="tiny-1", dimensions=3, precision="fp32", source="tiny")
    (folder / "encoder.json").write_text(card.model_dump_json())
    (folder / "encoder.onnx").write_bytes(b"graph")
    return folder


@pytest.fixture
def bundles(tmp_path: Path) -> Path:
    return tmp_path / "bundles"


@pytest.fixture
def bundle(encoder: Path, bundles: Path) -> Path:
    return write_bundle(
        bundles,
        encoder=encoder,
        ads=ADS,
        vectors=VECTORS,
        counts=COUNTS,
        metrics={"recall@100": 0.5},
        version="v1",
    )


def test_an_opened_bundle_is_what_was_written(bundle: Path) -> None:
    opened = open_bundle(bundle)

    assert opened.ads == ADS
    assert (opened.vectors == VECTORS).all()
    assert (opened.encoder / "encoder.onnx").read_bytes() == b"graph"
    assert (opened.manifest.version, opened.manifest.encoder) == ("v1", "tiny-1")
    assert (opened.manifest.counts, opened.manifest.metrics) == (COUNTS, {"recall@100": 0.5})


def test_a_version_is_made_up_when_none_is_given(encoder: Path, bundles: Path) -> None:
    folder = write_bundle(bundles, encoder=encoder, ads=ADS, vectors=VECTORS, counts=COUNTS)

    assert open_bundle(folder).manifest.version == folder.name


def test_a_version_is_never_overwritten(encoder: Path, bundles: Path, bundle: Path) -> None:
    with pytest.raises(Conflict, match="v1"):
        write_bundle(
            bundles, encoder=encoder, ads=ADS, vectors=VECTORS + 1, counts=COUNTS, version="v1"
        )

    assert (open_bundle(bundle).vectors == VECTORS).all()


@pytest.mark.parametrize("version", ["../v2", ".v2", "current", "", "a b"])
def test_a_version_that_is_no_plain_name_is_refused(
    encoder: Path, bundles: Path, version: str
) -> None:
    bundles.mkdir()
    with pytest.raises(InvalidInput):
        activate(bundles, version)
    with pytest.raises(InvalidInput):
        write_bundle(
            bundles,
            encoder=encoder,
            ads=ADS,
            vectors=VECTORS,
            counts=COUNTS,
            version=version or "a/b",
        )

    assert not list(bundles.iterdir())


@pytest.mark.parametrize("vectors", [VECTORS[:1], VECTORS[:, :2]])
def test_nothing_is_left_behind_when_vectors_do_not_fit(
    encoder: Path, bundles: Path, vectors: np.ndarray
) -> None:
    with pytest.raises(InvalidInput, match="expected"):
        write_bundle(bundles, encoder=encoder, ads=ADS, vectors=vectors, counts=COUNTS)

    assert not bundles.exists() or not list(bundles.iterdir())


def test_a_bundle_needs_an_encoder(tmp_path: Path, bundles: Path) -> None:
    with pytest.raises(NotFound, match="encoder"):
        write_bundle(bundles, encoder=tmp_path, ads=ADS, vectors=VECTORS, counts=COUNTS)


@pytest.mark.parametrize("name", ["ads.jsonl", "vectors.npy", "encoder/encoder.onnx"])
def test_one_changed_byte_is_damage_and_names_the_file(bundle: Path, name: str) -> None:
    content = bytearray((bundle / name).read_bytes())
    content[-2] ^= 1
    (bundle / name).write_bytes(content)

    with pytest.raises(Damaged, match=name):
        open_bundle(bundle)


@pytest.mark.parametrize("name", ["ads.jsonl", "vectors.npy", "encoder/encoder.json"])
def test_a_missing_file_is_damage(bundle: Path, name: str) -> None:
    (bundle / name).unlink()

    with pytest.raises(Damaged, match=name):
        open_bundle(bundle)


def test_a_file_that_is_not_listed_is_damage(bundle: Path) -> None:
    (bundle / "encoder" / "extra.bin").write_bytes(b"x")

    with pytest.raises(Damaged, match=r"extra\.bin"):
        open_bundle(bundle)


def test_a_needed_file_must_be_listed(bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    del manifest["files"]["ads.jsonl"]
    (bundle / "manifest.json").write_text(json.dumps(manifest))

    with pytest.raises(Damaged, match=r"ads\.jsonl"):
        open_bundle(bundle)


def test_a_listed_file_outside_the_bundle_is_not_read(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["files"]["../../secret"] = manifest["files"]["ads.jsonl"]
    (bundle / "manifest.json").write_text(json.dumps(manifest))

    with pytest.raises(Damaged, match="secret"):
        open_bundle(bundle)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format_version": 2}'])
def test_a_manifest_of_another_kind_is_damage(bundle: Path, content: str) -> None:
    (bundle / "manifest.json").write_text(content)

    with pytest.raises(Damaged, match=r"manifest\.json"):
        open_bundle(bundle)


def test_counts_must_agree_with_the_files(bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["counts"]["ads"] = 3
    (bundle / "manifest.json").write_text(json.dumps(manifest))

    with pytest.raises(Damaged, match="3 ads"):
        open_bundle(bundle)


def test_no_folder_is_not_found(bundles: Path) -> None:
    with pytest.raises(NotFound):
        open_bundle(bundles / "v9")


def test_the_activated_bundle_is_current_until_the_next_one(
    encoder: Path, bundles: Path, bundle: Path
) -> None:
    activate(bundles, "v1")
    first = current(bundles)
    second = write_bundle(
        bundles, encoder=encoder, ads=ADS, vectors=VECTORS, counts=COUNTS, version="v2"
    )
    activate(bundles, "v2")

    assert (first, current(bundles)) == (bundle, second)


def test_only_what_exists_is_activated(bundles: Path, bundle: Path) -> None:
    activate(bundles, "v1")
    with pytest.raises(NotFound, match="v2"):
        activate(bundles, "v2")

    assert current(bundles) == bundle


def test_nothing_is_current_before_the_first(bundles: Path) -> None:
    with pytest.raises(NotFound, match="skim publish"):
        current(bundles)


@pytest.mark.parametrize("content", [b"../..", b"\xff\xfe", b""])
def test_a_current_that_names_no_version_is_damage(
    bundles: Path, bundle: Path, content: bytes
) -> None:
    (bundles / "current").write_bytes(content)

    with pytest.raises(Damaged, match="current"):
        current(bundles)


def write(bundles: Path, encoder: Path, version: str = "v1", **facts: object) -> Path:
    return write_bundle(
        bundles,
        encoder=encoder,
        ads=ADS,
        vectors=VECTORS,
        counts=COUNTS,
        version=version,
        **facts,
    )


def test_a_bundle_tells_what_serving_needs_beside_vectors(encoder: Path, bundles: Path) -> None:
    facts = {
        "cold_start": cold_start_of("title"),
        "calibration": ScoreCalibration(knots=[(0.0, -1.0), (1.0, 2.0)]),
        "canaries": [Canary(query="boat", ads=["a"])],
        "lessons": [Lessons(synthetic_queries=["x"]), Lessons()],
    }
    folder = write(bundles, encoder, **facts)

    manifest = verify_bundle(folder)
    assert (manifest.format_version, manifest.index) == (3, IndexCard(kind="flat"))
    assert (manifest.cold_start, manifest.calibration) == (
        facts["cold_start"],
        facts["calibration"],
    )
    assert {"canaries.jsonl", "lessons.jsonl"} <= set(manifest.files)
    with pytest.raises(InvalidInput, match="1 lessons for 2 ads"):
        write(bundles, encoder, lessons=[Lessons()], version="other")


def test_an_index_that_the_manifest_names_must_be_there(encoder: Path, bundles: Path) -> None:
    folder = write(bundles, encoder)
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"kind": "flat"', '"kind": "hnsw"'))

    with pytest.raises(Damaged, match=r"ads\.faiss: not listed"):
        verify_bundle(folder)


def test_activating_remembers_the_bundle_before_and_the_same_again_does_not(
    encoder: Path, bundles: Path
) -> None:
    for version in ("v1", "v2"):
        write(bundles, encoder, version=version)
    activate(bundles, "v1")
    with pytest.raises(NotFound, match="before this one"):
        previous(bundles)
    activate(bundles, "v2")
    activate(bundles, "v2")

    assert (current(bundles).name, previous(bundles)) == ("v2", "v1")


def test_bundles_are_listed_newest_first_without_what_cannot_be_read(
    encoder: Path, bundles: Path
) -> None:
    for version in ("v1", "v2", "damaged"):
        write(bundles, encoder, version=version)
    (bundles / "damaged" / "manifest.json").write_text("{")
    activate(bundles, "v1")

    assert [each.version for each in versions(bundles)] == ["v2", "v1"]
    assert versions(bundles / "nothing") == []
