from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from services.training.catalogue import (
    Catalogue,
    make_catalogue,
    slice_of,
    without_obscene,
)
from services.training.things import (
    ALWAYS_TRAIN,
    ThingsSummary,
    build_things,
    new_intents,
    new_wordings,
)
from services.training.wordnet import read_synsets
from services.training.wordnet_source import WordNet, find_wordnet
from shared.contracts.document import Document
from shared.dataset import Query, read_dataset
from shared.encoder import SentenceEncoder
from shared.errors import Conflict, InvalidInput
from shared.formats.detection import read_any
from shared.settings import CommonSettings
from tests.support.encoders import BagOfWordsEncoder
from tests.support.wordnet import ARTIFACT, STATE, SYNSETS, synset_line, write_wordnet


def catalogue_of(folder: Path, lines: Sequence[str] = SYNSETS) -> Catalogue:
    return make_catalogue(read_synsets(write_wordnet(folder, lines)))


def truth_by_text(catalogue: Catalogue) -> dict[str, set[str]]:
    titles = {document.id: document.title for document in catalogue.documents}
    texts = {query.id: query.text for query in catalogue.queries}
    return {
        texts[query_id]: {titles[document_id] for document_id in row}
        for query_id, row in catalogue.truth.items()
    }


def many(queries: int) -> Catalogue:
    """A catalogue whose queries come in pairs of one label set."""
    documents = [Document(id=f"d{n}", title=f"d{n}") for n in range(queries)]
    rows = [Query(id=f"q{n}", text=f"query {n}") for n in range(queries)]
    truth = {f"q{n}": {f"d{n - n % 2}": 1.0, f"d{n - n % 2 + 1}": 1.0} for n in range(queries)}
    return Catalogue(documents, rows, truth)


def test_artifacts_and_foods_are_documents(tmp_path: Path) -> None:
    catalogue = catalogue_of(tmp_path)

    assert len(catalogue.documents) == 9
    wind = next(
        document for document in catalogue.documents if document.title == "wind instrument"
    )
    assert wind == Document(
        id="wind_instrument~251~3A06~3A00~3A~3A",
        title="wind instrument",
        text='blown; "he plays a wind"',
        metadata={"category": "artifact"},
    )


def test_words_of_hypernyms_are_queries_for_all_that_lies_below(tmp_path: Path) -> None:
    foods = {"spotted dick", "jelly", "soup"}

    assert truth_by_text(catalogue_of(tmp_path)) == {
        "entity": {
            "wind instrument", "woodwind", "oboe", "clarinet", "Excalibur", "fare", *foods
        },
        "wind instrument": {"woodwind", "oboe", "clarinet"},
        "wind": {"woodwind", "oboe", "clarinet"},
        "woodwind": {"oboe", "clarinet"},
        "wood": {"oboe", "clarinet"},
        "fare": foods,
        "food": foods,
    }  # fmt: skip


def test_a_hypernym_of_more_than_500_asks_for_nearly_everything_and_is_no_query(
    tmp_path: Path,
) -> None:
    def below(hyponyms: int) -> list[str]:
        lines = [synset_line(1, 3, ["root"])]
        return lines + [synset_line(n + 2, ARTIFACT, [f"w{n}"], [1]) for n in range(hyponyms)]

    assert set(truth_by_text(catalogue_of(tmp_path / "a", below(500)))) == {"root"}
    assert truth_by_text(catalogue_of(tmp_path / "b", below(501))) == {}


def test_words_of_several_hypernyms_find_the_union(tmp_path: Path) -> None:
    lines = [
        synset_line(1, STATE, ["Cup", "cups"]),
        synset_line(2, STATE, ["cup"]),
        *(synset_line(10 + n, ARTIFACT, [f"w{n}"], [1 + n % 2]) for n in range(4)),
    ]

    truth = truth_by_text(catalogue_of(tmp_path, lines))

    assert truth == {"cup": {"w0", "w1", "w2", "w3"}, "cups": {"w0", "w2"}}


def test_a_circle_of_hypernyms_ends_and_an_unknown_one_is_told(tmp_path: Path) -> None:
    circle = [
        synset_line(1, ARTIFACT, ["a"], [2]),
        synset_line(2, ARTIFACT, ["b"], [1]),
        synset_line(3, ARTIFACT, ["c"], [2]),
    ]

    assert truth_by_text(catalogue_of(tmp_path / "a", circle))["a"] == {"a", "b", "c"}
    with pytest.raises(InvalidInput, match=r"'c' \(00000003\) has the hypernym 00000002"):
        catalogue_of(tmp_path / "b", [circle[2]])


def test_slurs_and_obscene_words_are_dropped_and_ordinary_words_stay(tmp_path: Path) -> None:
    texts = [
        "butt joint", "ball", "hammer", "clay pigeon", "brake shoe", "cigarette", "fag", "faggot",
        "dildo",
    ]  # fmt: skip
    glosses = {
        "clay pigeon": "target used in skeet or trapshooting",
        "brake shoe": "a restraint that retards the wheel",
        "hammer": "carried by a strap on your back",
    }
    lines = [synset_line(1, STATE, ["root"]), synset_line(2, STATE, ["crapper"])]
    lines += [
        synset_line(10 + n, ARTIFACT, [text], [1, 2], glosses.get(text, "a thing"))
        for n, text in enumerate(texts)
    ]

    clean = without_obscene(catalogue_of(tmp_path, lines))

    assert {document.title for document in clean.documents} == set(texts[:6])
    assert truth_by_text(clean) == {"root": set(texts[:6])}


def test_a_query_needs_two_documents_after_the_filter(tmp_path: Path) -> None:
    lines = [
        synset_line(1, STATE, ["root"]),
        synset_line(2, ARTIFACT, ["cup"], [1]),
        synset_line(3, ARTIFACT, ["dildo"], [1]),
    ]

    clean = without_obscene(catalogue_of(tmp_path, lines))

    assert (clean.queries, clean.truth) == ([], {})


def test_a_slice_is_part_of_every_larger_slice_of_its_seed() -> None:
    catalogue = many(400)

    small, large = slice_of(catalogue, 100, seed=1), slice_of(catalogue, 200, seed=1)

    ids = {document.id for document in small.documents}
    assert len(ids) == 100
    assert ids < {document.id for document in large.documents}
    assert ids != {document.id for document in slice_of(catalogue, 100, seed=2).documents}
    assert all(len(row) >= 2 and set(row) <= ids for row in small.truth.values())
    assert [query.id for query in small.queries] == list(small.truth)


@pytest.mark.parametrize(
    ("documents", "message"), [(0, "expected 1 to 9"), (10, "expected 1 to 9"), (1, "no query")]
)
def test_a_slice_that_cannot_be_is_told(tmp_path: Path, documents: int, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        slice_of(catalogue_of(tmp_path), documents, seed=0)


def test_new_wordings_part_60_10_30_by_text_alone() -> None:
    catalogue = many(4_000)
    splits = new_wordings(catalogue.queries, seed=0)
    parts = list(splits.values())

    assert parts.count("train") / 4_000 == pytest.approx(0.6, abs=0.03)
    assert parts.count("validation") / 4_000 == pytest.approx(0.1, abs=0.02)
    assert splits == new_wordings(list(reversed(catalogue.queries)), seed=0)
    assert new_wordings(catalogue.queries[:9], seed=0).items() <= splits.items()
    assert splits != new_wordings(catalogue.queries, seed=1)


def test_new_intents_never_part_queries_with_the_same_right_documents() -> None:
    splits = new_intents(many(4_000), seed=0)

    assert all(splits[f"q{n}"] == splits[f"q{n + 1}"] for n in range(0, 4_000, 2))
    assert list(splits.values()).count("test") / 4_000 == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize("seed", range(5))
def test_what_the_teachers_prompt_names_is_always_train_with_its_synonyms(seed: int) -> None:
    texts = sorted(ALWAYS_TRAIN)
    queries = [Query(id=f"q{n}", text=text) for n, text in enumerate(texts)]
    synonyms = [Query(id=f"s{n}", text=f"another {text}") for n, text in enumerate(texts)]
    truth = {f"{kind}{n}": {f"d{n}": 1.0, "d": 1.0} for n in range(len(texts)) for kind in "qs"}

    wordings = new_wordings(queries, seed)
    intents = new_intents(Catalogue([], [*synonyms, *queries], truth), seed)

    assert set(wordings.values()) == set(intents.values()) == {"train"}


def test_the_folder_is_a_data_set_with_both_splits_and_a_card(tmp_path: Path) -> None:
    wordnet = find_wordnet(tmp_path / "cache", write_wordnet(tmp_path / "wn").parent)
    folder = tmp_path / "things"
    told: list[tuple[int, int]] = []

    summary = build_things(
        folder,
        encoder=BagOfWordsEncoder(),
        wordnet=wordnet,
        progress=lambda done, total: told.append((done, total)),
    )

    dataset = read_any(folder)
    assert (len(dataset.documents), len(dataset.queries)) == (8, 7)
    assert {len(row) for row in dataset.truth.values()} == {8, 3, 2}
    assert dataset.clicks == dataset.truth, "the policy shows all of so few"
    intents = {
        query.id: query.split for query in read_dataset(folder, split="new_intents").queries
    }
    assert intents["wood"] == intents["woodwind"] == "train"
    assert intents["wind"] == intents["wind_instrument"] == "train"
    card = ThingsSummary.model_validate_json((folder / "dataset.json").read_bytes())
    assert card == summary
    assert (card.unfiltered.documents, card.filtered.documents, card.documents) == (9, 8, 8)
    assert (card.exposure, card.shown, card.logging_encoder) == (1.0, 50, "words-1")
    assert (card.wordnet_version, card.wordnet_sha256) == (None, wordnet.sha256)
    assert told == [(15, 15)]


def test_building_again_gives_the_same_files(tmp_path: Path) -> None:
    wordnet = find_wordnet(tmp_path / "cache", write_wordnet(tmp_path / "wn").parent)
    folder = tmp_path / "things"

    def build() -> dict[Path, bytes]:
        build_things(folder, encoder=BagOfWordsEncoder(), wordnet=wordnet, documents=6, seed=4)
        return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    first = build()
    assert build() == first
    assert {path.name for path in first} == {
        "documents.jsonl", "queries.jsonl", "clicks.tsv", "impressions.tsv", "qrels.tsv",
        "new_intents.tsv", "dataset.json",
    }  # fmt: skip


def test_somebody_elses_data_set_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "documents.jsonl").write_text("theirs\n")
    wordnet = find_wordnet(tmp_path / "cache", write_wordnet(tmp_path / "wn").parent)

    with pytest.raises(Conflict, match="holds a data set that is not things"):
        build_things(tmp_path, encoder=BagOfWordsEncoder(), wordnet=wordnet)

    assert (tmp_path / "documents.jsonl").read_text() == "theirs\n"


def test_a_damaged_wordnet_writes_nothing(tmp_path: Path) -> None:
    wordnet = find_wordnet(tmp_path / "cache", write_wordnet(tmp_path / "wn", ["oops"]).parent)

    with pytest.raises(InvalidInput, match="not a WordNet noun synset"):
        build_things(tmp_path / "things", encoder=BagOfWordsEncoder(), wordnet=wordnet)

    assert not (tmp_path / "things").exists()


COUNTS = {
    "3.0": ((14_160, 3_698, 66_940), (14_130, 3_695, 66_810)),
    "3.1": ((14_180, 3_705, 67_177), (14_150, 3_702, 67_047)),
}
"""WordNet version -> documents, queries and pairs, before and after the filter."""


@pytest.fixture(scope="module")
def wordnet(tmp_path_factory: pytest.TempPathFactory) -> WordNet:
    return find_wordnet(tmp_path_factory.mktemp("wordnet"))


@pytest.mark.slow
def test_the_whole_catalogue_has_the_published_counts(wordnet: WordNet) -> None:
    whole = make_catalogue(read_synsets(wordnet.data_noun))
    clean = without_obscene(whole)

    before, after = COUNTS[str(wordnet.version)]
    assert tuple(whole.counts.model_dump().values()) == before
    assert tuple(clean.counts.model_dump().values()) == after
    splits = new_intents(clean, seed=0)
    sets = {
        part: {frozenset(clean.truth[key]) for key, split in splits.items() if split == part}
        for part in ("train", "validation", "test")
    }
    assert not sets["train"] & (sets["validation"] | sets["test"])
    assert not sets["validation"] & sets["test"]


@pytest.mark.slow
@pytest.mark.parametrize("documents", [None, 3_000, 2_000])
def test_a_sixth_of_the_truth_is_exposed_on_the_whole_set_and_on_slices(
    tmp_path: Path, wordnet: WordNet, documents: int | None
) -> None:
    folder = CommonSettings().models / "encoder"
    if not folder.exists():
        pytest.skip(f"{folder}: no encoder; run `skim models build`")

    summary = build_things(
        tmp_path, encoder=SentenceEncoder(folder), wordnet=wordnet, documents=documents
    )

    assert summary.exposure == pytest.approx(0.168, abs=0.005)
    assert summary.documents == (documents or summary.filtered.documents)
