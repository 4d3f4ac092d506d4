import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from safetensors.torch import load_file

from services.training.classifiers import LabelMatrix
from services.training.dual_encoder import DualEncoderReport, DualEncoderSettings, fine_tune
from services.training.siamese import SiameseEncoder, TextTokenizer
from shared.errors import InvalidInput, NotFound
from tests.support.tiny_models import write_encoder

DOCUMENTS = [
    "oboe a double reed woodwind",
    "flute a wind instrument",
    "saw a cutting tool",
    "bread baked food",
]
QUERIES = ["musical instrument", "sharp tool", "kitchen food", "nobody asked"]
PAIRS = {(0, 0): 1.0, (0, 1): 1.0, (1, 2): 1.0, (2, 3): 1.0}
SETTINGS = DualEncoderSettings(epochs=8, batch_size=4, learning_rate=1e-3, cluster_size=2)


def labels_of(pairs: dict[tuple[int, int], float], weight: float = 1.0) -> LabelMatrix:
    rows, columns = zip(*pairs, strict=True)
    values = np.array(list(pairs.values()), dtype=np.float32)
    shape = (len(QUERIES), len(DOCUMENTS))
    targets = sp.coo_array((values, (rows, columns)), shape=shape).tocsr()
    weights = targets.copy()
    weights.data[:] = weight
    return LabelMatrix(targets, weights)


LABELS = labels_of(PAIRS)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("source"), layers=2)


@pytest.fixture
def tune(source: Path, tmp_path: Path) -> Callable[..., DualEncoderReport]:
    def tune(
        name: str, settings: DualEncoderSettings = SETTINGS, labels: LabelMatrix = LABELS
    ) -> DualEncoderReport:
        return fine_tune(source, QUERIES, labels, DOCUMENTS, tmp_path / name, settings)

    return tune


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def similarity(folder: Path, query: str, document: str) -> float:
    encoder = SiameseEncoder(folder).eval()
    tokenizer = TextTokenizer(folder, torch.device("cpu"))
    first, second = encoder(tokenizer([query], 32), tokenizer([document], 64))
    return float((first * second).sum().detach())


def test_the_loss_falls_and_the_encoder_is_written(source: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int, str]] = []

    report = fine_tune(
        source,
        QUERIES,
        LABELS,
        DOCUMENTS,
        tmp_path / "tuned",
        SETTINGS,
        lambda done, total, note: seen.append((done, total, note)),
    )

    assert report.losses[-1] < report.losses[0] / 2
    assert (report.pairs, report.steps) == (4, 8)
    assert seen[-1][:2] == (8, 8)
    assert seen[-1][2].startswith("loss ")
    assert (tmp_path / "tuned" / "tokenizer.json").read_bytes() == (
        source / "tokenizer.json"
    ).read_bytes()
    assert weights_of(tmp_path / "tuned").keys() == weights_of(source).keys()


def test_both_losses_bring_labelled_pairs_together(
    source: Path, tune: Callable[..., DualEncoderReport], tmp_path: Path
) -> None:
    before = similarity(source, QUERIES[2], DOCUMENTS[3]) - similarity(
        source, QUERIES[2], DOCUMENTS[2]
    )
    for loss in ("decoupled", "in_batch"):
        tune(loss, replace(SETTINGS, loss=loss))
        folder = tmp_path / loss
        after = similarity(folder, QUERIES[2], DOCUMENTS[3]) - similarity(
            folder, QUERIES[2], DOCUMENTS[2]
        )

        assert after > before + 0.1, loss


def test_settings_seed_data_hash_and_losses_stand_beside_the_weights(
    tune: Callable[..., DualEncoderReport], tmp_path: Path
) -> None:
    report = tune("tuned", replace(SETTINGS, seed=3))

    record = json.loads((tmp_path / "tuned" / "training.json").read_text())
    assert record["settings"]["seed"] == 3
    assert record["report"]["losses"] == report.losses
    assert record["report"]["data_sha256"] == report.data_sha256
    assert len(report.data_sha256) == 64


def test_other_labels_are_other_data(tune: Callable[..., DualEncoderReport]) -> None:
    settings = replace(SETTINGS, epochs=1)
    first = tune("a", settings)
    same = tune("b", settings)
    lighter = tune("c", settings, labels_of(PAIRS, weight=0.5))

    assert first.data_sha256 == same.data_sha256 != lighter.data_sha256


def test_the_seed_decides_everything(tune: Callable[..., DualEncoderReport]) -> None:
    losses = [
        tune(f"tuned-{number}", replace(SETTINGS, epochs=2, seed=seed)).losses
        for number, seed in enumerate((1, 1, 2))
    ]

    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize("cut_after", [3, 5, 8], ids=["in an epoch", "clustered", "at its end"])
def test_a_killed_run_goes_on_and_ends_with_the_same_weights(
    source: Path, tmp_path: Path, cut_after: int
) -> None:
    settings = replace(
        SETTINGS, epochs=4, batch_size=1, checkpoint_steps=2, guard="embeddings", cluster_epochs=2
    )
    runs: list[list[int]] = []

    def run(name: str, kill_after: int | None) -> DualEncoderReport:
        runs.append([])

        def tell(done: int, total: int, note: str) -> None:
            runs[-1].append(done)
            if done == kill_after:
                raise KeyboardInterrupt

        return fine_tune(source, QUERIES, LABELS, DOCUMENTS, tmp_path / name, settings, tell)

    whole = run("whole", None)
    with pytest.raises(KeyboardInterrupt):
        run("cut", cut_after)
    cut = run("cut", None)

    saved = (cut_after - 1) // 2 * 2  # the kill comes before that step is saved
    first, second = weights_of(tmp_path / "whole"), weights_of(tmp_path / "cut")
    assert runs[-1] == list(range(saved + 1, 17))
    assert cut.losses == whole.losses
    assert all((first[name] == second[name]).all() for name in first)
    assert not (tmp_path / "cut.checkpoint").exists()


def test_other_settings_do_not_go_on_from_a_checkpoint(source: Path, tmp_path: Path) -> None:
    steps: list[int] = []

    def tell(done: int, total: int, note: str) -> None:
        steps.append(done)
        if len(steps) == 3:
            raise KeyboardInterrupt

    settings = replace(SETTINGS, epochs=4, checkpoint_steps=1)
    with pytest.raises(KeyboardInterrupt):
        fine_tune(source, QUERIES, LABELS, DOCUMENTS, tmp_path / "a", settings, tell)
    fine_tune(source, QUERIES, LABELS, DOCUMENTS, tmp_path / "a", replace(settings, seed=1), tell)

    assert steps == [1, 2, 3, 1, 2, 3, 4]


def test_only_the_upper_layers_learn_if_told_so(
    source: Path, tune: Callable[..., DualEncoderReport], tmp_path: Path
) -> None:
    tune("tuned", replace(SETTINGS, trained_layers=1))

    before, after = weights_of(source), weights_of(tmp_path / "tuned")
    changed = {name for name in before if not (before[name] == after[name]).all()}
    assert changed
    assert all(name.startswith("encoder.layer.1.") for name in changed)


def test_more_layers_than_there_are_cannot_learn(tune: Callable[..., DualEncoderReport]) -> None:
    with pytest.raises(InvalidInput, match="expected 1 to 2"):
        tune("tuned", replace(SETTINGS, trained_layers=3))


def distance(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    return float(torch.stack([(one[name] - other[name]).pow(2).sum() for name in one]).sum())


@pytest.mark.parametrize(("guard", "strength"), [("parameters", 300.0), ("embeddings", 10.0)])
def test_a_guard_holds_the_encoder_near_its_start(
    source: Path,
    tune: Callable[..., DualEncoderReport],
    tmp_path: Path,
    guard: str,
    strength: float,
) -> None:
    tune("free")
    tune("guarded", replace(SETTINGS, guard=guard, guard_strength=strength))

    def moved(folder: Path) -> float:
        if guard == "parameters":
            return distance(weights_of(folder), weights_of(source))
        start, now = SiameseEncoder(source).eval(), SiameseEncoder(folder).eval()
        tokens = TextTokenizer(source, torch.device("cpu"))(DOCUMENTS, 64)
        return float((1 - (start(tokens)[0] * now(tokens)[0]).sum(dim=1)).mean().detach())

    assert moved(tmp_path / "guarded") < moved(tmp_path / "free") / 2


def test_a_label_of_no_weight_teaches_nothing(
    source: Path, tune: Callable[..., DualEncoderReport], tmp_path: Path
) -> None:
    tune("tuned", replace(SETTINGS, weight_decay=0.0), labels_of(PAIRS, weight=0.0))

    assert distance(weights_of(source), weights_of(tmp_path / "tuned")) == 0


def test_a_soft_target_is_pulled_less_close(
    tune: Callable[..., DualEncoderReport], tmp_path: Path
) -> None:
    settings = replace(SETTINGS, epochs=30)
    tune("hard", settings)
    tune("soft", settings, labels_of(PAIRS | {(2, 3): 0.3}))

    assert (
        similarity(tmp_path / "soft", QUERIES[2], DOCUMENTS[3])
        < similarity(tmp_path / "hard", QUERIES[2], DOCUMENTS[3]) - 0.05
    )


def test_without_a_label_there_is_nothing_to_train_on(
    tune: Callable[..., DualEncoderReport], tmp_path: Path
) -> None:
    empty = sp.csr_array((len(QUERIES), len(DOCUMENTS)), dtype=np.float32)

    with pytest.raises(InvalidInput, match="nothing to train on"):
        tune("tuned", SETTINGS, LabelMatrix(empty, empty))

    assert not (tmp_path / "tuned").exists()


def test_labels_must_fit_the_texts(source: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"\(4, 4\)"):
        fine_tune(source, QUERIES[:3], LABELS, DOCUMENTS, tmp_path / "tuned", SETTINGS)


def test_a_folder_without_an_encoder_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"tokenizer\.json"):
        fine_tune(tmp_path, QUERIES, LABELS, DOCUMENTS, tmp_path / "tuned", SETTINGS)


def fine_tune_here(arguments: Sequence[str]) -> None:
    """Fine-tune in the process that torchrun started; see the test below."""
    source, target = map(Path, arguments)
    fine_tune(source, QUERIES, LABELS, DOCUMENTS, target, SETTINGS)


@pytest.mark.slow
def test_two_processes_take_the_steps_of_one(tmp_path: Path) -> None:
    source = write_encoder(tmp_path / "source", layers=2, dropout=0.0)
    fine_tune(source, QUERIES, LABELS, DOCUMENTS, tmp_path / "one", SETTINGS)

    torchrun = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run(  # noqa: S603  (this very file)
        [sys.executable, "-m", *torchrun, __file__, str(source), str(tmp_path / "two")],
        check=True,
        timeout=300,
    )

    one, two = weights_of(tmp_path / "one"), weights_of(tmp_path / "two")
    assert distance(one, weights_of(source)) > 1e-2
    assert distance(one, two) < 1e-6


if __name__ == "__main__":
    fine_tune_here(sys.argv[1:])
