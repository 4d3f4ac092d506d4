"""The bench of joint training: its folder, and a row a model, without what a bare machine lacks."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from safetensors.numpy import load_file

from loadtests.joint_folder import (
    BOTH_TOWERS,
    Split,
    Texts,
    arrays_of,
    pack_encoder,
    read_texts,
    unpack_encoder,
    write_split,
    write_texts,
)
from loadtests.joint_table import table
from tests.support.tiny_models import write_encoder

TEXTS = Texts(
    ["music", "sharp", "kitchen", "oboe", "saw", "bread"],
    {"title": ["oboe", "saw", "bread"], "metadata": ["oboe wood", "saw metal", "bread food"]},
)
BARE = """
import sys
class Bare:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"pydantic", "fastapi", "redis", "hnswlib", "celery", "orjson", "faiss"}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Bare())
from loadtests import joint
joint.main()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "packed"
    folder.mkdir()
    matrix = sp.csr_array(np.eye(3, dtype=np.float32))
    asked, taught = np.array([0, 1, 2]), np.array([0, 1, 2])
    labels = {"targets": matrix, "weights": matrix * np.float32(0.5)}
    arrays = {
        "exposed/queries": np.array([0]),
        "exposed/documents": np.array([2]),
        **arrays_of("test", asked, {"truth": matrix}),
        **arrays_of("validation", asked, {"truth": matrix}),
        **arrays_of(f"{BOTH_TOWERS}/clicks", taught, labels),
        **arrays_of(f"{BOTH_TOWERS}/full_truth", taught, labels),
    }
    write_texts(folder, TEXTS)
    write_split(folder, "new_wordings", arrays)
    pack_encoder(write_encoder(tmp_path / "tiny"), folder / "encoder", TEXTS)
    return folder


def test_a_folder_holds_what_was_put_in(folder: Path) -> None:
    split = Split(folder, "new_wordings", 3)
    taught = split.taught("title", "clicks")

    assert read_texts(folder) == TEXTS
    assert taught is not None
    assert taught.rows.tolist() == [0, 1, 2]
    assert taught.labels.weights.toarray().tolist() == (np.eye(3) / 2).tolist()
    assert split.asked("test").truth.toarray().tolist() == np.eye(3).tolist()
    assert split.taught("title", "lever") is None


def test_a_packed_encoder_is_nearly_the_one_it_was(folder: Path, tmp_path: Path) -> None:
    before = load_file(tmp_path / "tiny" / "model.safetensors")
    after = load_file(unpack_encoder(folder / "encoder", tmp_path / "again") / "model.safetensors")

    assert before.keys() - after.keys() == {"pooler.dense.weight", "pooler.dense.bias"}
    for name, tensor in after.items():
        np.testing.assert_allclose(tensor, before[name], atol=2e-3)


@pytest.mark.slow
def test_a_bare_machine_measures_a_row_a_model(folder: Path, tmp_path: Path) -> None:
    arguments = [
        *("--data", str(folder), "--device", "cpu", "--splits", "new_wordings"),
        *("--towers", "title", "--arms", "clicks,full_truth,lever"),
        *(
            "--grid",
            "pairs_seen=24",
            "--grid",
            "batch_size=4",
            "--out",
            str(tmp_path / "out.json"),
        ),
    ]
    subprocess.run(  # noqa: S603
        [sys.executable, "-c", BARE, *arguments],
        check=True,
        timeout=300,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )

    measured = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert [(row["kind"], row["arm"]) for row in measured] == [
        ("zero_shot", "clicks"),
        *(
            (kind, arm)
            for kind in ("classifiers", "dual_encoder", "joint")
            for arm in ("clicks", "full_truth")
        ),
    ]
    assert all(row["recall_at_10"] == 100 for row in measured)  # there are three documents
    rows = table(measured)
    assert rows[0]["arm"] == "-"
    assert rows[-1]["gain of recall@10 over clicks"] == "+0.0 [+0.0, +0.0]"
