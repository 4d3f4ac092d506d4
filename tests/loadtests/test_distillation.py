"""The saved table of the ways of writing queries."""

from loadtests.distillation import COLUMNS, table
from loadtests.results import markdown_table

ROW = dict.fromkeys(COLUMNS, 0.5)


def test_every_row_is_a_line_and_what_is_not_judged_is_a_dash() -> None:
    pages = {"documents": 44, "teacher_precision": 0.25}
    figures = {"rows": {"shipped": ROW, "clicks": ROW}, "shipped_elsewhere": {"pages": pages}}

    lines = markdown_table(table(figures)).splitlines()

    assert [line.split(" | ")[0] for line in lines[2:]] == [
        "| shipped",
        "| clicks",
        "| shipped, pages",
    ]
    assert "| 0.25 |" in lines[-1]
    assert "| - |" in lines[-1]
