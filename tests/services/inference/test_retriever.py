import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from loadtests.vectors import clustered
from services.inference.retriever import Retriever, open_retriever
from services.training.encoder_export import export_encoder
from shared.ad_index import AdIndex
from shared.bundle import Counts, activate, write_bundle
from shared.contracts.document import Document
from shared.encoder import SentenceEncoder
from shared.errors import Damaged, NotFound
from tests.support.encoders import BagOfWordsEncoder
from tests.support.tiny_models import write_encoder

ADS = [Document(id=f"ad-{number}", title=f"thing {number}") for number in range(200)]


@pytest.fixture(scope="module")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoder")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's exporter complains about torch
        export_encoder(write_encoder(folder / "source"), folder / "encoder", precision="fp32")
    return folder / "encoder"


def publish(bundles: Path, encoder: Path, titles: Sequence[str], version: str) -> Path:
    ads = [Document(id=title.replace(" ", "-"), title=title) for title in titles]
    folder = write_bundle(
        bundles,
        encoder=encoder,
        ads=ads,
        vectors=SentenceEncoder(encoder).encode(titles),
        counts=Counts(ads=len(ads), train_queries=1, clicks=1, labels=0),
        metrics={"recall@100": 0.5},
        version=version,
    )
    activate(bundles, version)
    return folder


def test_ads_drawn_by_position_have_the_score_they_would_be_ranked_by() -> None:
    encoder = BagOfWordsEncoder()
    retriever = Retriever(encoder, AdIndex(clustered(len(ADS), 64)), ADS, "g1")
    ranking = retriever.top("thing", len(ADS))
    scores = {ad.id: score for ad, score in ranking.ads}

    drawn = retriever.at([150, 3], ranking)

    assert [ad.id for ad, _ in drawn] == ["ad-150", "ad-3"]
    assert [score for _, score in drawn] == pytest.approx(
        [scores["ad-150"], scores["ad-3"]], abs=1e-5
    )
    assert retriever.population == len(ADS)


def test_the_top_ads_are_those_of_the_sorted_matrix_product() -> None:
    encoder, vectors = BagOfWordsEncoder(), clustered(len(ADS), 64)
    retriever = Retriever(encoder, AdIndex(vectors), ADS, "g1")

    for query in ("red wine", "boat", "a knife for cutting bread"):
        ranking = retriever.top(query, 10)
        products = vectors @ encoder.encode([query])[0]
        best = np.argsort(-products)[:10]
        assert [ad.id for ad, _ in ranking.ads] == [ADS[position].id for position in best]
        assert [score for _, score in ranking.ads] == pytest.approx(products[best], abs=1e-6)


def test_more_ads_than_there_are_means_all() -> None:
    retriever = Retriever(BagOfWordsEncoder(), AdIndex(clustered(200, 64)), ADS, "g1")

    ranking = retriever.top("boat", 1_000)

    assert {ad.id for ad, _ in ranking.ads} == {ad.id for ad in ADS}
    assert len(ranking.ads) == len(ADS)


def test_the_time_is_told_by_stage() -> None:
    retriever = Retriever(BagOfWordsEncoder(), AdIndex(clustered(200, 64)), ADS, "g1")

    ranking = retriever.top("boat", 3)

    assert ranking.encode_seconds > 0
    assert ranking.search_seconds > 0


def test_one_ad_is_given_by_id_and_an_unknown_one_is_named() -> None:
    retriever = Retriever(BagOfWordsEncoder(), AdIndex(clustered(200, 64)), ADS, "g1")

    assert retriever.ad("ad-7") == ADS[7]
    with pytest.raises(NotFound, match="bundle g1 has no ad 'ad-200'"):
        retriever.ad("ad-200")


def test_warming_up_answers_at_several_lengths() -> None:
    encoder = BagOfWordsEncoder()
    retriever = Retriever(encoder, AdIndex(clustered(200, 64)), ADS, "g1")

    retriever.warm_up()

    lengths = [len(text.split()) for [text] in encoder.calls]
    assert lengths == sorted(set(lengths))
    assert lengths[0] == 1
    assert lengths[-1] >= 32


def test_the_current_bundle_is_opened_with_its_own_encoder(
    tmp_path: Path, tiny_encoder: Path
) -> None:
    publish(tmp_path, tiny_encoder, ["sharp knife", "sweet pear"], "v1")
    publish(tmp_path, tiny_encoder, ["sharp knife", "sweet pear", "oboe"], "v2")

    retriever = open_retriever(tmp_path)

    assert retriever.top("sweet pear", 1).ads[0][0].title == "sweet pear"
    assert retriever.info.model_dump() == {
        "generation": "v2",
        "ads": 3,
        "encoder": SentenceEncoder(tiny_encoder).name,
        "dimensions": 32,
        "index": "flat",
        "metrics": {"recall@100": 0.5},
    }


def test_a_damaged_bundle_is_not_opened(tmp_path: Path, tiny_encoder: Path) -> None:
    folder = publish(tmp_path, tiny_encoder, ["sharp knife"], "v1")
    (folder / "encoder" / "encoder.onnx").write_bytes(b"damaged")

    with pytest.raises(Damaged, match=r"encoder\.onnx"):
        open_retriever(tmp_path)


def test_no_bundle_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="skim publish"):
        open_retriever(tmp_path)
