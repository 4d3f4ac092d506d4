"""A product feed and a click log, as shops export them."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.cli.__main__ import app
from shared.dataset import read_dataset
from shared.errors import Conflict, InvalidInput, NotFound
from shared.formats.shop import read_shop

FEED = """id,title,description,price,brand,in stock
sku/1,Oak bed,"A bed, of oak",199.5,acme,1
2,Lamp,,20,,0
3,,"a chair that folds",,acme,
"""
LOG = """Search Term,product_id,clicks,impressions
oak bed,sku/1,3,10
Oak  Bed,sku/1,1,2
oak bed,sku/1,,
lamp,2,0,5
lamps,2,1,5
lamp,unknown,4,9
  ,2,1,1
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "feed.csv").write_text(FEED)
    (tmp_path / "log.csv").write_text(LOG)
    return tmp_path


def test_columns_are_known_by_their_usual_names_and_others_are_metadata(folder: Path) -> None:
    bed, lamp, chair = read_shop(folder / "feed.csv", folder / "log.csv").dataset.documents

    assert (bed.id, bed.title, bed.text) == ("sku~2F1", "Oak bed", "A bed, of oak")
    assert bed.metadata == {"price": 199.5, "brand": "acme", "in stock": 1}
    assert lamp.metadata == {"price": 20, "in stock": 0}
    assert chair.title == "a chair that folds"


def test_spellings_are_one_query_and_rows_of_a_pair_add_up(folder: Path) -> None:
    read = read_shop(folder / "feed.csv", folder / "log.csv")

    texts = {query.id: query.text for query in read.dataset.queries}
    clicks = {texts[query]: row for query, row in read.dataset.clicks.items()}
    shown = {texts[query]: row for query, row in read.dataset.impressions.items()}
    assert clicks == {"oak bed": {"sku~2F1": 5.0}, "lamps": {"2": 1.0}}
    assert shown == {"oak bed": {"sku~2F1": 12.0}, "lamp": {"2": 5.0}, "lamps": {"2": 5.0}}
    assert (read.unknown_products, read.empty_queries) == (1, 1)


def test_near_duplicates_share_a_split_and_a_longer_log_changes_none(tmp_path: Path) -> None:
    (tmp_path / "feed.csv").write_text("id,title\n1,thing\n")
    words = [f"thing {number}" for number in range(300)]

    def splits(queries: list[str]) -> dict[str, str]:
        lines = "".join(f"{query},1\n" for query in queries)
        (tmp_path / "log.csv").write_text(f"query,product_id\n{lines}")
        read = read_shop(tmp_path / "feed.csv", tmp_path / "log.csv", test_share=0.2)
        return {query.text: query.split for query in read.dataset.queries}

    short, long = splits(words[:100]), splits([*words, *(f"{word}s" for word in words)])

    assert short == {query: long[query] for query in short}
    assert 10 < list(long.values()).count("validation") / 2 < 50
    assert 35 < list(long.values()).count("test") / 2 < 85
    plural = splits(["red shoe", "red shoes", "shoes red"])
    assert len(set(plural.values())) == 1


@pytest.mark.parametrize(
    ("feed", "log", "told"),
    [
        ("id,title\n1,a\n1,b\n", LOG, r"feed.csv:3: id '1' occurs twice"),
        ("title\na\n", LOG, r"feed.csv:2: no column 'id'"),
        (FEED, "query,clicks\na,1\n", r"log.csv:2: no column 'product_id'"),
        (FEED, "query,product_id,clicks\na,2,many\n", r"log.csv:2: clicks is 'many'"),
        (FEED, "query,product_id,clicks\na,2,-1\n", r"log.csv:2: clicks is '-1'"),
    ],
)
def test_what_is_wrong_is_told_with_its_row(
    tmp_path: Path, feed: str, log: str, told: str
) -> None:
    (tmp_path / "feed.csv").write_text(feed)
    (tmp_path / "log.csv").write_text(log)

    with pytest.raises(InvalidInput, match=told):
        read_shop(tmp_path / "feed.csv", tmp_path / "log.csv")


def test_a_file_that_is_missing_is_named(folder: Path) -> None:
    with pytest.raises(NotFound, match=r"nowhere\.csv"):
        read_shop(folder / "nowhere.csv", folder / "log.csv")


def test_the_command_writes_a_data_folder_once(folder: Path) -> None:
    arguments = ["data", "shop", *(str(folder / name) for name in ("feed.csv", "log.csv", "out"))]

    result = CliRunner().invoke(app, arguments)

    told = json.loads(result.stdout)
    assert (told["documents"], told["clicks"], told["unknown_products"]) == (3, 2, 1)
    assert read_dataset(folder / "out").documents[0].title == "Oak bed"
    assert isinstance(CliRunner().invoke(app, arguments).exception, Conflict)


def test_a_log_without_a_click_on_the_feed_is_refused(folder: Path) -> None:
    (folder / "log.csv").write_text("query,product_id\noak bed,elsewhere\n")
    arguments = ["data", "shop", *(str(folder / name) for name in ("feed.csv", "log.csv", "out"))]

    result = CliRunner().invoke(app, arguments)

    assert isinstance(result.exception, InvalidInput)
    assert not (folder / "out").exists()
