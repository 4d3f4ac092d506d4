import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from loadtests.vectors import clustered
from services.inference.catalogue import Catalogue
from services.inference.generation import generation_of, open_generation
from services.inference.retriever import Question, explain, ranking_of, top, vectors_of
from services.inference.view import View
from shared.ad_index import flat_index
from shared.bundle import Counts, activate, write_bundle
from shared.bundle_facts import Canary, Lessons, ScoreCalibration
from shared.contracts.document import Document
from shared.encoder import SentenceEncoder
from shared.errors import Damaged
from tests.support.encoders import BagOfWordsEncoder

ADS = [Document(id=f"ad-{number}", title=f"thing {number}") for number in range(200)]


def publish(
    bundles: Path,
    encoder: Path,
    titles: Sequence[str],
    version: str,
    vectors: np.ndarray | None = None,
    canaries: Sequence[Canary] = (),
    lessons: Sequence[Lessons] = (),
) -> Path:
    ads = [Document(id=title.replace(" ", "-"), title=title) for title in titles]
    folder = write_bundle(
        bundles,
        encoder=encoder,
        ads=ads,
        vectors=SentenceEncoder(encoder).encode(titles) if vectors is None else vectors,
        counts=Counts(ads=len(ads), train_queries=1, clicks=1, labels=0),
        metrics={"recall@100": 0.5},
        version=version,
        canaries=canaries,
        lessons=lessons,
    )
    activate(bundles, version)
    return folder


def view_of(vectors: np.ndarray | None = None, encoder: BagOfWordsEncoder | None = None) -> View:
    rows = [each.model_dump_json().encode() for each in ADS]
    index = flat_index(clustered(len(ADS), 64) if vectors is None else vectors)
    generation = generation_of("g1", encoder or BagOfWordsEncoder(), index, rows)
    return Catalogue(generation).view


def test_the_top_ads_are_those_of_the_sorted_matrix_product() -> None:
    encoder, vectors = BagOfWordsEncoder(), clustered(len(ADS), 64)
    view = view_of(vectors, encoder)

    for query in ("red wine", "boat", "a knife for cutting bread"):
        ranking = top(view, query, 10)
        products = vectors @ encoder.encode([query])[0]
        best = np.argsort(-products)[:10]
        assert [ad["id"] for ad in ranking.ads] == [ADS[position].id for position in best]
        assert [ad["score"] for ad in ranking.ads] == pytest.approx(products[best], abs=1e-6)


def test_more_ads_than_there_are_means_all() -> None:
    ranking = top(view_of(), "boat", 1_000)

    assert {ad["id"] for ad in ranking.ads} == {ad.id for ad in ADS}
    assert len(ranking.ads) == len(ADS)


def test_queries_of_one_encoder_and_length_are_encoded_together_and_answered_as_alone() -> None:
    class Noting(BagOfWordsEncoder):
        together: ClassVar[list[int]] = []

        def forward(self, rows: Sequence[Sequence[int]]) -> np.ndarray:
            self.together.append(len(rows))
            return super().forward(rows)

    view, other = view_of(encoder=Noting()), view_of(encoder=Noting())
    long = "a knife for cutting bread and cheese and meat"
    asked = [
        Question(view, "red wine", 3),
        Question(view, long, 3),
        Question(other, "boat", 3),
        Question(view, "boat", 2),
    ]

    found = {
        each.query + str(each.k): ranking_of(each, *rest).ads for each, *rest in vectors_of(asked)
    }

    assert sorted(Noting.together) == [1, 1, 2]
    for each in asked:
        assert found[each.query + str(each.k)] == top(view, each.query, each.k).ads


@pytest.mark.parametrize(
    ("lengths", "calls"),
    [
        ([4, 3, 4, 3], [4]),  # two padded tokens cost less than a call
        ([9, 3, 3], [2, 1]),  # twelve cost more
        ([9, 3], [2]),
        ([3, 3, 3, 5, 11], [4, 1]),
    ],
)
def test_queries_are_padded_where_that_costs_less_than_another_call(
    lengths: list[int], calls: list[int]
) -> None:
    class Counting(BagOfWordsEncoder):
        rows: ClassVar[list[int]] = []

        def forward(self, rows: Sequence[Sequence[int]]) -> np.ndarray:
            self.rows.append(len(rows))
            return super().forward(rows)

    view = view_of(encoder=Counting())
    asked = [Question(view, " ".join(["boat"] * length), 1) for length in lengths]

    assert len({id(each) for each, *_ in vectors_of(asked)}) == len(lengths)
    assert Counting.rows == calls


def test_an_encoder_that_minds_company_gets_queries_one_by_one() -> None:
    class Minding(BagOfWordsEncoder):
        may_batch = False

        def forward(self, rows: Sequence[Sequence[int]]) -> np.ndarray:
            assert len(rows) == 1
            return super().forward(rows)

    view = view_of(encoder=Minding())

    assert len(list(vectors_of([Question(view, query, 1) for query in ("a", "b", "c")]))) == 3


def test_the_time_is_told_by_stage() -> None:
    ranking = top(view_of(), "boat", 3)

    assert list(ranking.seconds) == ["tokenise", "encode", "search", "name"]
    assert all(seconds > 0 for seconds in ranking.seconds.values())


def test_a_calibrated_score_is_a_probability_in_the_same_order() -> None:
    calibration = ScoreCalibration(knots=[(0, -4), (1, 4)])
    view = view_of()
    calibrated = replace(view, generation=replace(view.generation, calibration=calibration))

    raw, probable = top(view, "boat", 50).ads, top(calibrated, "boat", 50).ads
    assert [ad["id"] for ad in probable] == [ad["id"] for ad in raw]
    assert all(0 < ad["score"] < 1 for ad in probable)
    assert [ad["score"] for ad in probable] == [calibration.probability(ad["score"]) for ad in raw]


def test_chosen_fields_are_given_and_what_an_ad_lacks_is_left_out() -> None:
    ads = [Document(id="a", title="a", text="long", metadata={"price": 3, "x": ["y"]})]
    rows = [each.model_dump_json().encode() for each in ads]
    encoder = BagOfWordsEncoder()
    view = Catalogue(generation_of("g1", encoder, flat_index(encoder.encode(["a"])), rows)).view

    [ad] = top(view, "a", 1, fields=("price", "text", "no-such-field")).ads
    assert ad["fields"] == {"price": 3, "text": "long"}


def test_warming_up_answers_at_several_lengths() -> None:
    lengths = []

    class Noting(BagOfWordsEncoder):
        def tokens(self, texts: Sequence[str], *, max_tokens: int = 32) -> list[list[int]]:
            lengths.extend(len(text.split()) for text in texts)
            return super().tokens(texts, max_tokens=max_tokens)

    view_of(encoder=Noting()).generation.warm_up()

    assert lengths == sorted(set(lengths))
    assert (lengths[0], lengths[-1]) == (1, 32)


def test_parts_of_a_score_add_up_to_it() -> None:
    encoder = BagOfWordsEncoder()
    ads = [Document(id="a", title="red wine"), Document(id="b", title="boat")]
    embeddings, classifiers = encoder.encode(["red wine", "boat"]), clustered(2, 64)
    index = flat_index(0.25 * embeddings + 0.75 * classifiers)
    rows = [each.model_dump_json().encode() for each in ads]
    view = Catalogue(generation_of("g1", encoder, index, rows, mixing_weight=0.75)).view

    why = explain(view, 0, "red")
    assert why.parts is not None
    query = encoder.encode(["red"])[0]
    assert why.parts.document_embedding == pytest.approx(0.25 * query @ embeddings[0], abs=1e-6)
    assert why.parts.classifier == pytest.approx(0.75 * query @ classifiers[0], abs=1e-6)
    assert why.inner_product == pytest.approx(query @ index.vector(0), abs=1e-6)


def test_a_bundle_that_does_not_say_how_it_was_mixed_explains_without_parts() -> None:
    why = explain(view_of(), 3, "red")

    assert (why.parts, why.taught_by, why.vector) == (None, None, "trained")


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([b'{"id":"a","title":"a"}'], "1 ads, 2 vectors"),
        ([b'{"id":"a","title":"a"}', b'{"id":"a","title":"b"}'], "'a' occurs twice"),
        ([b'{"id":"a","title":"a"}', b'{"id":"b"}'], "ad 1 is not an ad"),
        ([b'{"id":"a","title":"a"}', b"{"], "ad 1 is not an ad"),
    ],
)
def test_ads_that_do_not_fit_their_vectors_are_damaged(rows: list[bytes], reason: str) -> None:
    with pytest.raises(Damaged, match=reason):
        generation_of("g1", BagOfWordsEncoder(), flat_index(clustered(2, 64)), rows)


def test_a_bundle_is_opened_with_its_own_encoder(tmp_path: Path, tiny_encoder: Path) -> None:
    folder = publish(tmp_path, tiny_encoder, ["sharp knife", "sweet pear", "oboe"], "v2")

    generation = open_generation(folder)

    view = Catalogue(generation).view
    assert top(view, "sweet pear", 1).ads[0]["title"] == "sweet pear"
    assert (generation.name, generation.encoder.name) == ("v2", SentenceEncoder(tiny_encoder).name)
    assert generation.metrics == {"recall@100": 0.5}


def test_a_bundle_of_format_1_is_opened(tmp_path: Path, tiny_encoder: Path) -> None:
    folder = publish(tmp_path, tiny_encoder, ["sharp knife", "sweet pear"], "v1")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["format_version"] = 1
    manifest["settings"] = {"tower": "title", "mixing_weight": 0.75}
    for later in ("index", "cold_start", "calibration"):
        del manifest[later]
    (folder / "manifest.json").write_text(json.dumps(manifest))

    generation = open_generation(folder)

    assert (generation.cold_start.tower, generation.cold_start.max_tokens) == ("title", 32)
    assert (generation.mixing_weight, generation.calibration) == (0.75, None)


def test_a_damaged_bundle_is_not_opened(tmp_path: Path, tiny_encoder: Path) -> None:
    folder = publish(tmp_path, tiny_encoder, ["sharp knife"], "v1")
    (folder / "encoder" / "encoder.onnx").write_bytes(b"damaged")

    with pytest.raises(Damaged, match=r"encoder\.onnx"):
        open_generation(folder)


def test_a_bundle_whose_canaries_do_not_find_their_ads_is_not_opened(
    tmp_path: Path, tiny_encoder: Path
) -> None:
    titles = ["sharp knife", "sweet pear", "oboe", "long flute"]
    canaries = [Canary(query=title, ads=[title.replace(" ", "-")]) for title in titles]
    vectors = SentenceEncoder(tiny_encoder).encode(titles)
    good = publish(tmp_path, tiny_encoder, titles, "good", canaries=canaries)
    bad = publish(tmp_path, tiny_encoder, titles, "bad", vectors[::-1].copy(), canaries)

    assert open_generation(good).name == "good"
    with pytest.raises(Damaged, match="canary queries find 0% of what they must"):
        open_generation(bad)


def test_lessons_are_read_line_by_line(tmp_path: Path, tiny_encoder: Path) -> None:
    lessons = [Lessons(), Lessons(synthetic_queries=["fruit"], totals=(0, 0, 1))]
    folder = publish(tmp_path, tiny_encoder, ["knife", "sweet pear"], "v1", lessons=lessons)

    view = Catalogue(open_generation(folder)).view
    assert [explain(view, position, "pear").taught_by for position in (0, 1)] == lessons


def test_a_bundle_opened_beside_another_shares_its_encoder_only_if_it_is_the_same(
    tmp_path: Path, tiny_encoder: Path
) -> None:
    first = open_generation(publish(tmp_path, tiny_encoder, ["sharp knife", "oboe"], "v1"))
    second = open_generation(publish(tmp_path, tiny_encoder, ["sweet pear"], "v2"), first)
    other = tmp_path / "other"
    shutil.copytree(tiny_encoder, other)
    card = json.loads((other / "encoder.json").read_text()) | {"name": "other"}
    (other / "encoder.json").write_text(json.dumps(card))
    third = open_generation(publish(tmp_path, other, ["sweet pear"], "v3"), second)

    assert second.encoder is first.encoder
    assert third.encoder is not first.encoder
    assert (second.name, third.name, third.encoder.name) == ("v2", "v3", "other")
    for generation in (second, third):
        ads = top(Catalogue(generation).view, "sweet pear", 5).ads
        assert [each["title"] for each in ads] == ["sweet pear"]
