from pathlib import Path

import pytest

from services.training.arm_cache import ArmCache
from services.training.arms import arms_named, arms_of_kinds
from services.training.classifiers import ClassifierSettings
from services.training.embeddings import CachedEncoder
from services.training.evaluation import Evaluation, EvaluationResult, evaluate
from services.training.joint_arms import Learner
from services.training.joint_settings import JointSettings
from services.training.sources import gather
from services.training.train import TrainSettings, embed_documents
from shared.contracts.document import Document
from shared.dataset import Dataset, Query
from tests.support.encoders import BagOfWordsEncoder
from tests.support.tiny_models import write_encoder

THINGS = {
    "music": ("oboe", "flute", "clarinet"),
    "sharp": ("saw", "knife", "hammer"),
    "kitchen": ("bread", "apple", "pear"),
}
SETTINGS = JointSettings(
    pairs_seen=480,
    batch_size=16,
    learning_rate=1e-3,
    cluster_size=4,
    classifiers=ClassifierSettings(batch_size=16, learning_rate=0.1),
)
ARMS = arms_of_kinds(
    arms_named(["zero_shot_title", "clicks", "full_truth"]), ["dual_encoder", "joint"]
)


@pytest.fixture(scope="module")
def learner(tmp_path_factory: pytest.TempPathFactory) -> Learner:
    source = write_encoder(tmp_path_factory.mktemp("source"), layers=2)
    return Learner(source, "cpu", SETTINGS)


@pytest.fixture
def dataset() -> Dataset:
    """What a query asks for is in no title; clicks show one document of three."""
    documents = [Document(id=name, title=name) for names in THINGS.values() for name in names]
    queries, clicks, truth = [], {}, {}
    for word, names in THINGS.items():
        for other, split in (("long", "train"), ("wood", "train"), ("metal", "test")):
            query = Query(id=f"{word}-{other}", text=f"{word} {other}", split=split)
            queries.append(query)
            truth[query.id] = dict.fromkeys(names, 1.0)
            clicks[query.id] = {names[0]: 1.0}
    return Dataset(documents, queries, clicks, truth)


def run(
    dataset: Dataset, learner: Learner | None, cache: ArmCache, told: list[str] | None = None
) -> EvaluationResult:
    encoder = CachedEncoder(BagOfWordsEncoder())
    sources = gather(dataset, embed_documents(dataset.documents, encoder, "title"))
    return evaluate(
        Evaluation(dataset, encoder, TrainSettings(), cache, learner),
        {"title": sources},
        split_name="wordings",
        arms=ARMS,
        progress=lambda arm, done, total: told.append(arm) if told is not None else None,
    )


def test_each_kind_learns_what_its_labels_say_and_is_trained_once(
    dataset: Dataset, learner: Learner, tmp_path: Path
) -> None:
    cache, told = ArmCache(tmp_path), list[str]()

    rows = run(dataset, learner, cache).rows["title_only"]
    again = run(dataset, learner, cache, told).rows["title_only"]

    assert list(rows) == [
        "zero_shot_title",
        *("clicks_dual_encoder", "full_truth_dual_encoder"),
        *("clicks_joint", "full_truth_joint"),
    ]
    for kind in ("dual_encoder", "joint"):
        assert rows[f"full_truth_{kind}"]["recall_at_3"] == 1.0
        assert rows[f"clicks_{kind}"]["recall_at_3"] < 1.0
    assert rows["full_truth_dual_encoder"]["mixing_weight"] == 0
    assert rows["full_truth_joint"]["mixing_weight"] > 0
    assert told == []
    assert again["full_truth_joint"]["recall_at_3"] == rows["full_truth_joint"]["recall_at_3"]


def test_without_an_encoder_to_train_they_are_left_out(dataset: Dataset, tmp_path: Path) -> None:
    result = run(dataset, None, ArmCache(tmp_path))

    assert result.left_out["full_truth_joint"] == "needs an encoder to train"
    assert list(result.rows["title_only"]) == ["zero_shot_title"]


def test_a_dual_encoder_and_a_joint_model_are_different_models(learner: Learner) -> None:
    identities = [learner.identity(kind, "title") for kind in ("dual_encoder", "joint")]

    assert identities[0] != identities[1]
    assert learner.settings_of("joint", "metadata").document_tokens == 64
