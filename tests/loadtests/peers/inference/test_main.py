import json
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from loadtests.peers.inference import __main__ as benchmark
from loadtests.peers.inference.__main__ import compare, main, summary, table
from loadtests.peers.inference.catalogue import kept
from loadtests.peers.inference.measuring import Seconds
from loadtests.peers.inference.protocol import Catalogue
from loadtests.peers.inference.rivals import OURS, Contender, rival
from loadtests.peers.inference.serving import Served
from loadtests.results import markdown_table
from shared.errors import InvalidInput, NotFound
from shared.settings import CommonSettings
from tests.support.rivals import QUERIES, fake, tiny_catalogue


def contender(catalogue: Catalogue, name: str, setting: str = "") -> Contender:
    def _start(each: str) -> AbstractContextManager[Served]:
        return fake(catalogue, each, name=name)

    return Contender(name, [setting], _start, 64, {"fake": "1"})


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    return tiny_catalogue(tmp_path_factory.mktemp("catalogue"))


@pytest.fixture(scope="module")
def compared(catalogue: Catalogue) -> Iterator[dict[str, Any]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(benchmark, "DEFAULT", QUERIES)
        patch.setattr(benchmark, "_WARM_UP_SECONDS", 0.1)
        yield compare(
            contender(catalogue, OURS),
            contender(catalogue, "txtai"),
            catalogue,
            QUERIES,
            turns=2,
            seconds=Seconds.of_turn(0.6),
        )


def test_one_object_holds_the_ratios_by_rival_and_what_they_were_made_from(
    compared: dict[str, Any],
) -> None:
    figures = json.loads(json.dumps(summary({"txtai": compared}, {})))

    for name in ("rps", "p50", "p99", "cpu", "c1_p50", "c1_p99", "open_p50", "open_p99"):
        assert list(figures[f"ratio_{name}"]) == ["txtai"]
        assert figures[f"ratio_{name}"]["txtai"] > 0
    (both,) = figures["rivals"].values()
    for part in ("recall_at_10", "ef", "figures", "rss_mb", "versions"):
        assert set(both[part]) == {OURS, "txtai"}
    assert both["recall_at_10"] == {OURS: 1.0, "txtai": 1.0}
    assert both["figures"][OURS]["rps"] > 0
    assert markdown_table(table({"txtai": compared})).startswith("| rival | setting | ratio_rps |")


def test_who_finds_too_little_is_refused_as_a_comparison(catalogue: Catalogue) -> None:
    with pytest.raises(InvalidInput, match=r"txtai: recall@10 is 0\.9000"):
        compare(
            contender(catalogue, OURS),
            contender(catalogue, "txtai", "forgets"),
            catalogue,
            QUERIES,
            turns=1,
            seconds=Seconds.of_turn(0.3),
        )


@pytest.mark.parametrize(
    ("change", "refused", "holds"),
    [
        ({}, {}, True),
        ({"ratios": {"rps": 1.4}}, {}, False),
        ({"slower_at": ["c1_p99"]}, {}, False),
        ({"errors": 1}, {}, False),
        ({}, {"infinity": "not installed"}, False),
    ],
)
def test_the_bars_hold_only_if_ours_is_ahead_of_everyone_everywhere_without_an_error(
    compared: dict[str, Any], change: dict[str, Any], refused: dict[str, str], holds: bool
) -> None:
    ahead = {**compared, "slower_at": [], "errors": 0}
    ratios = {**compared["ratios"], "rps": 1.6, **change.get("ratios", {})}

    figures = summary({"txtai": {**ahead, **change, "ratios": ratios}}, refused)

    assert figures["bars_hold"] is holds
    assert figures["refused"] == refused


def test_nobody_compared_holds_no_bar() -> None:
    assert summary({}, {})["bars_hold"] is False


def test_a_rival_that_cannot_take_part_is_named_with_its_reason(
    catalogue: Catalogue,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("SKIM_HOME", str(tmp_path))
    monkeypatch.setattr(benchmark, "catalogue_folder", lambda common, ads: catalogue.folder)
    monkeypatch.setattr(benchmark, "judging_queries", lambda common: QUERIES)
    monkeypatch.setattr(benchmark, "ours", lambda common, made: contender(made, OURS))

    assert main(["--json", "--only", "txtai"]) == 1

    said = capsys.readouterr()
    assert "install --only txtai" in json.loads(said.out)["refused"]["txtai"]
    assert said.err.startswith("loadtests.peers.inference: ")


def test_an_unknown_rival_is_refused_before_anything_is_made(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["--only", "milvus"])

    assert "'milvus' is none of txtai, infinity, qdrant_edge" in capsys.readouterr().err


def test_a_rival_without_an_environment_or_a_name_is_refused(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    common = CommonSettings(home=tmp_path)

    with pytest.raises(NotFound, match="install --only qdrant_edge"):
        rival(common, catalogue, "qdrant_edge")
    with pytest.raises(InvalidInput, match="'milvus' is none of txtai, infinity, qdrant_edge"):
        rival(common, catalogue, "milvus")


def test_what_was_made_is_kept_until_its_ingredients_change(tmp_path: Path) -> None:
    made: list[Path] = []

    first = kept(tmp_path, "thing", ["a"], made.append)
    again = kept(tmp_path, "thing", ["a"], made.append)
    other = kept(tmp_path, "thing", ["b"], made.append)

    assert first == again != other
    assert len(made) == 2


def test_what_could_not_be_made_leaves_nothing_behind(tmp_path: Path) -> None:
    def _fail(folder: Path) -> None:
        (folder / "half").write_text("")
        raise NotFound("no encoder")

    with pytest.raises(NotFound):
        kept(tmp_path, "thing", ["a"], _fail)

    assert list((tmp_path / "peers" / "inference").iterdir()) == []
