import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from services.training.classifiers import ClassifierSettings, LabelMatrix
from services.training.guard import GuardSettings
from services.training.joint import JointTraining, read_lessons
from services.training.joint_guard import trust
from services.training.joint_settings import JointSettings
from services.training.team import Team, joined_team
from services.training.token_table import TokenTable
from shared.errors import InvalidInput, NotFound
from tests.support.tiny_models import write_encoder

DOCUMENTS = [
    "oboe a double reed woodwind",
    "flute a wind instrument",
    "saw a cutting tool",
    "bread baked food",
]
QUERIES = ["musical instrument", "sharp tool", "kitchen food", "long wood"]
ROWS, COLUMNS = [0, 0, 1, 2, 3], [0, 1, 2, 3, 0]
TARGETS = sp.coo_array(
    (np.ones(5, dtype=np.float32), (ROWS, COLUMNS)), shape=(len(QUERIES), len(DOCUMENTS))
).tocsr()
LABELS = LabelMatrix(TARGETS, TARGETS)
SETTINGS = JointSettings(
    pairs_seen=80,
    batch_size=4,
    learning_rate=1e-3,
    cluster_size=2,
    checkpoint_steps=3,
    classifiers=ClassifierSettings(batch_size=4, learning_rate=0.05),
)
ALONE = Team(0, 1, torch.device("cpu"))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("source"), layers=2)


def training_of(
    source: Path, settings: JointSettings = SETTINGS, team: Team = ALONE
) -> JointTraining:
    lessons = read_lessons(source, QUERIES, LABELS, DOCUMENTS, settings, team.device)
    return JointTraining(lessons, settings, team)


@pytest.fixture
def trained(source: Path) -> Callable[..., JointTraining]:
    def train(settings: JointSettings = SETTINGS) -> JointTraining:
        training = training_of(source, settings)
        training.run()
        return training

    return train


def documents_of(source: Path) -> TokenTable:
    return TokenTable(source, DOCUMENTS, 64, ALONE.device)


def queries_of(source: Path) -> TokenTable:
    return TokenTable(source, QUERIES, 32, ALONE.device)


def scores(training: JointTraining, source: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the scores of embeddings and of classifiers, (queries, documents) each."""
    queries = training.embedded(queries_of(source))
    documents = training.embedded(documents_of(source))
    return queries @ documents.T, queries @ training.head.vectors.T


def margin(similarities: torch.Tensor) -> float:
    """Return by how much labelled pairs are nearer than the others, on average."""
    is_positive = torch.from_numpy(TARGETS.toarray() > 0)
    return float(similarities[is_positive].mean() - similarities[~is_positive].mean())


def state_of(training: JointTraining) -> dict[str, torch.Tensor]:
    trained = {name: each.detach() for name, each in training.encoder.trained().items()}
    return {**trained, "head": training.head.vectors}


def test_embeddings_and_classifiers_both_learn(
    source: Path, trained: Callable[..., JointTraining]
) -> None:
    before = [margin(each) for each in scores(training_of(source), source)]
    training = trained()
    after = [margin(each) for each in scores(training, source)]

    assert after[0] > before[0] + 0.1
    assert after[1] > before[1] + 0.1
    assert len(training.losses) == 1  # of 20 steps, fewer than are read at once


def test_the_encoder_learns_from_the_classifiers_loss_alone(
    source: Path, trained: Callable[..., JointTraining]
) -> None:
    start = training_of(source)
    frozen_head = replace(SETTINGS.classifiers, learning_rate=0.0)
    training = trained(replace(SETTINGS, tower_weight=0.0, classifiers=frozen_head))

    assert torch.equal(training.head.vectors, start.head.vectors)
    assert margin(scores(training, source)[1]) > margin(scores(start, source)[1]) + 0.05


def test_without_the_classifiers_loss_it_is_a_dual_encoder(
    source: Path, trained: Callable[..., JointTraining]
) -> None:
    start = training_of(source)
    training = trained(replace(SETTINGS, classifier_weight=0.0))

    assert torch.equal(training.head.vectors, start.head.vectors)
    assert margin(scores(training, source)[0]) > margin(scores(start, source)[0]) + 0.1


def test_the_guard_holds_embeddings_near_their_start(
    source: Path, trained: Callable[..., JointTraining]
) -> None:
    start = training_of(source).embedded(documents_of(source))

    def moved(training: JointTraining) -> float:
        return float((1 - (training.embedded(documents_of(source)) * start).sum(dim=1)).mean())

    assert moved(trained(replace(SETTINGS, guard_strength=20.0))) < moved(trained()) / 2


@pytest.mark.parametrize("killed_after", [4, 10])
def test_a_killed_run_goes_on_and_ends_with_the_same_weights(
    source: Path, tmp_path: Path, killed_after: int
) -> None:
    def tell(done: int, total: int, note: str) -> None:
        assert total == 20
        if done == killed_after:
            raise KeyboardInterrupt

    whole, cut, resumed = (training_of(source) for _ in range(3))
    whole.run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        cut.run(tmp_path / "cut", tell)
    resumed.resume(tmp_path / "cut")
    steps: list[int] = []
    resumed.run(tmp_path / "cut", lambda done, total, note: steps.append(done))

    assert steps[0] == killed_after // 3 * 3 + 1
    expected, found = state_of(whole), state_of(resumed)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert not (tmp_path / "cut").exists()


def test_the_seed_decides_everything(trained: Callable[..., JointTraining]) -> None:
    first, again, other = (
        trained(replace(SETTINGS, pairs_seen=20, seed=seed)) for seed in (1, 1, 2)
    )

    assert first.losses == again.losses != other.losses


def test_it_stands_between_where_it_started_and_where_it_was_led(
    source: Path, trained: Callable[..., JointTraining]
) -> None:
    start, training = state_of(training_of(source)), trained()
    end = {name: each.detach().clone() for name, each in state_of(training).items()}

    for share in (0.25, 0.0, 1.0):
        training.stand_at(share)
        for name, each in state_of(training).items():
            torch.testing.assert_close(each, torch.lerp(start[name], end[name], share))


@pytest.mark.parametrize(("aims_at", "share"), [("labels", 1.0), ("start", 0.0)])
def test_the_exposed_slice_decides_how_far_training_is_trusted(
    source: Path, trained: Callable[..., JointTraining], aims_at: str, share: float
) -> None:
    start = training_of(source)
    before, _ = scores(start, source)
    exposed = np.array([1, 2, 3, 0]) if aims_at == "labels" else before.argmax(dim=1).numpy()
    settings = replace(SETTINGS, step_shares=(0.0, 1.0), pairs_seen=400)
    training = trained(settings)

    trusted = trust(
        training,
        settings,
        documents_of(source),
        queries_of(source),
        exposed,
        GuardSettings(fewest_pairs=4, standard_errors=0.0),
    )

    assert trusted.step_share == share
    at = training.embedded(queries_of(source)).numpy() @ trusted.vectors.T
    assert (at.argmax(axis=1) == exposed).mean() >= 0.75


def test_a_slice_that_is_too_small_leaves_the_defaults(
    source: Path, trained: Callable[..., JointTraining]
) -> None:
    none = np.empty(0, dtype=np.int64)
    trusted = trust(trained(), SETTINGS, documents_of(source), None, none, GuardSettings())

    assert (trusted.step_share, trusted.mixing_weight) == (1.0, SETTINGS.mixing_weight)
    assert trusted.vectors.shape == (4, 32)


def test_labels_must_fit_the_texts_and_there_must_be_some(source: Path) -> None:
    empty = sp.csr_array((len(QUERIES), len(DOCUMENTS)), dtype=np.float32)

    with pytest.raises(InvalidInput, match=r"\(4, 4\)"):
        read_lessons(source, QUERIES[:2], LABELS, DOCUMENTS, SETTINGS, ALONE.device)
    with pytest.raises(InvalidInput, match="nothing to train on"):
        read_lessons(source, QUERIES, LabelMatrix(empty, empty), DOCUMENTS, SETTINGS, ALONE.device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_that_is_asked_for_must_be_there() -> None:
    with pytest.raises(NotFound, match="no CUDA device"), joined_team("cuda"):
        pass


def train_here(arguments: Sequence[str]) -> None:
    """Train in the process that torchrun started; see the test below."""
    source, target = map(Path, arguments)
    settings = replace(SETTINGS, guard_strength=0.5)
    with joined_team("cpu") as team:
        training = training_of(source, settings, team)
        training.run()
        if team.leads:
            torch.save({name: each.detach() for name, each in state_of(training).items()}, target)


@pytest.mark.slow
def test_two_processes_take_the_steps_of_one(tmp_path: Path) -> None:
    source = write_encoder(tmp_path / "source", layers=2, dropout=0.0)
    train_here([str(source), str(tmp_path / "one")])

    torchrun = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run(  # noqa: S603  (this very file)
        [sys.executable, "-m", *torchrun, __file__, str(source), str(tmp_path / "two")],
        check=True,
        timeout=300,
    )

    start = state_of(training_of(source))
    one, two = (torch.load(tmp_path / name) for name in ("one", "two"))
    assert max(float((one[name] - start[name]).abs().max()) for name in one) > 5e-3
    for name in one:
        torch.testing.assert_close(one[name], two[name], atol=1e-4, rtol=1e-3)


if __name__ == "__main__":
    train_here(sys.argv[1:])
