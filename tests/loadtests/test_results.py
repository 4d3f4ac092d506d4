from pathlib import Path

import pytest

from loadtests import results
from loadtests.tables import rewritten
from shared.errors import Damaged, NotFound

ROWS = [{"arm": "clicks only", "recall@100": 0.25}, {"arm": "both", "recall@100": None}]


def test_figures_are_saved_with_what_one_needs_to_judge_them(tmp_path: Path) -> None:
    results.save("bench", {"c1_p50_ms": 2.5, "errors": 0}, command="run it", folder=tmp_path)

    saved = results.read("bench", tmp_path)
    assert saved.figures == {"c1_p50_ms": 2.5, "errors": 0}
    assert saved.command == "run it"
    assert saved.commit
    assert "cores" in saved.machine
    assert len(saved.date) == len("2000-01-01")


def test_saving_again_replaces_the_figures(tmp_path: Path) -> None:
    results.save("bench", {"errors": 1}, command="run it", folder=tmp_path)
    results.save("bench", {"errors": 0}, command="run it", folder=tmp_path)

    assert results.read("bench", tmp_path).figures == {"errors": 0}
    assert [path.name for path in tmp_path.iterdir()] == ["bench.json"]


def test_missing_results_are_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="'bench'"):
        results.read("bench", tmp_path)


def test_damaged_results_are_named(tmp_path: Path) -> None:
    (tmp_path / "bench.json").write_text("{}")

    with pytest.raises(Damaged, match=r"bench\.json"):
        results.read("bench", tmp_path)


def test_named_figures_become_a_table_of_two_columns() -> None:
    table = results.markdown_table({"rps": 937.25, "ads": 14_000, "p50": 2.71828, "note": "a|b"})

    assert table.splitlines() == [
        "| figure | value |",
        "| --- | --- |",
        "| rps | 937.2 |",
        "| ads | 14,000 |",
        "| p50 | 2.718 |",
        r"| note | a\|b |",
    ]


def test_rows_become_a_table_with_their_columns() -> None:
    assert results.markdown_table(ROWS).splitlines() == [
        "| arm | recall@100 |",
        "| --- | --- |",
        "| clicks only | 0.25 |",
        "| both | - |",
    ]


def test_only_what_is_between_the_markers_of_a_page_is_rewritten(tmp_path: Path) -> None:
    results.save("demo", ROWS, command="skim demo", folder=tmp_path)
    page = "# A\n<!-- results:demo -->\nold\n<!-- /results -->\ntext\n"

    after = rewritten(page, tmp_path)

    assert after.startswith("# A\n<!-- results:demo -->\n| arm | recall@100 |\n")
    assert after.endswith("`skim demo`\n<!-- /results -->\ntext\n")
    assert "old" not in after
    assert rewritten(after, tmp_path) == after


def test_a_page_that_names_unsaved_results_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="'demo'"):
        rewritten("<!-- results:demo -->\n<!-- /results -->", tmp_path)


def test_a_page_may_take_some_rows_or_figures(tmp_path: Path) -> None:
    results.save("arms", ROWS, command="x", folder=tmp_path)
    results.save("bench", {"p50": 2.5, "p99": 9, "errors": 0}, command="x", folder=tmp_path)
    page = "<!-- results:arms arm=both -->\n<!-- /results -->\n<!-- results:bench figure=p99,errors -->\n<!-- /results -->"

    after = rewritten(page, tmp_path)

    rows = [line for line in after.splitlines() if line.startswith("| ")]
    assert rows[2::3][0] == "| both | - |"
    assert rows[-2:] == ["| p99 | 9 |", "| errors | 0 |"]
    assert "clicks only" not in after
    assert rewritten(after, tmp_path) == after


def test_a_page_that_names_rows_that_are_not_there_is_an_error(tmp_path: Path) -> None:
    results.save("arms", ROWS, command="x", folder=tmp_path)

    with pytest.raises(NotFound, match="no arm skim"):
        rewritten("<!-- results:arms arm=both,skim -->\n<!-- /results -->", tmp_path)
