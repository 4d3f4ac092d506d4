import pytest

from shared.errors import InvalidInput
from shared.report_page.evaluation_tables import evaluation_sections
from shared.report_page.tables import Section
from tests.support.evaluations import evaluation, measured


def section(heading: str, sections: list[Section]) -> Section:
    return next(section for section in sections if section.heading == heading)


def test_each_tower_of_a_split_is_a_table_of_its_arms() -> None:
    arms = section("Arms: new wordings", evaluation_sections(evaluation()))

    assert [table.caption for table in arms.tables] == [
        "Documents as titles, new wordings",
        "Documents as titles + metadata, new wordings",
        "Peers on the same data, new wordings",
    ]


def test_an_arm_shows_percent_with_its_interval_and_its_signed_gain() -> None:
    table = section("Arms: new wordings", evaluation_sections(evaluation())).tables[0]

    assert list(table.columns) == ["arm", "P@1", "R@10", "R@100", "R@100 over clicks"]
    assert list(table.rows[2]) == [
        "clicks + SKIM",
        "15.0",
        "30.0 [29.0, 31.0]",
        "60.0 [59.0, 61.0]",
        "+10.0 [+9.0, +11.0]",
    ]


def test_where_arms_find_and_what_the_log_would_have_said_is_a_table_of_its_own() -> None:
    known = evaluation()
    clicks = known["new_wordings"]["full"]["clicks"]
    clicks |= {"tail_recall_at_100": 0.25, "biased_precision_at_1": 0.5}

    tables = section("Arms: new wordings", evaluation_sections(known)).tables

    _, groups = [table for table in tables if "tail" in table.caption]  # both towers have the arm
    assert groups.caption.startswith(
        "Documents as titles + metadata, new wordings: documents with"
    )
    assert list(groups.columns) == ["arm", "tail R@100", "biased P@1"]
    assert list(groups.rows[1]) == ["clicks", "25.0", "50.0"]


def test_what_was_not_measured_is_a_dash_and_a_new_arm_goes_by_its_name() -> None:
    rows = section("Arms: new wordings", evaluation_sections(evaluation())).tables[0].rows

    assert rows[0][-1] == "–"  # noqa: RUF001
    assert (rows[3][0], rows[3][-1]) == ("an arm of tomorrow", "-5.0 [-6.0, -4.0]")


def test_recall_is_drawn_against_exposure_in_the_order_of_k_with_its_band() -> None:
    exposure = section("Recall against exposure", evaluation_sections(evaluation()))
    clicks = exposure.plots[0].series[0]

    assert list(clicks.x) == [20, 50, 200]
    assert list(clicks.y) == pytest.approx([30, 40, 50])
    assert list(clicks.low) == pytest.approx([29, 39, 49])
    assert list(clicks.high) == pytest.approx([31, 41, 51])
    assert exposure.tables[0].rows[0][1] == "30.0 [29.0, 31.0]"


def test_an_arm_without_bounds_everywhere_gets_no_band() -> None:
    cut = evaluation()
    del cut["exposure"]["20"]["new_wordings"]["title_only"]["clicks"]["recall_at_100_low"]

    clicks = section("Recall against exposure", evaluation_sections(cut)).plots[0].series[0]

    assert (list(clicks.low), list(clicks.high)) == ([], [])


def test_precision_and_recall_of_labels_are_drawn_against_rising_tau() -> None:
    tau = section("Labels against tau", evaluation_sections(evaluation()))

    assert [(line.name, list(line.x), list(line.y)) for line in tau.plots[0].series] == [
        ("precision", [0.6, 0.9], [20, 50]),
        ("recall", [0.6, 0.9], [40, 10]),
    ]
    assert list(tau.tables[0].rows[0]) == ["0.6", "1,000", "20.0", "40.0"]


def test_facts_are_shown_as_they_were_told() -> None:
    facts = dict(section("Data and cost", evaluation_sections(evaluation())).tables[0].rows)

    assert facts["documents"] == "14,130"
    assert facts["augmented labels added"] == "1,234"
    assert facts["precision of the labels, %"] == "41.0"


def test_every_part_says_where_its_figures_come_from() -> None:
    stamps = {section.stamp.command for section in evaluation_sections(evaluation())}

    assert stamps == {"skim evaluate things --json"}


def test_a_stamp_may_stand_in_a_part_of_its_own_or_be_missing() -> None:
    arms = {"new_wordings": {"title_only": {"clicks": measured(0.5)}}}

    assert evaluation_sections(arms | {"stamp": {"date": "today"}})[0].stamp.date == "today"
    assert evaluation_sections(arms)[0].stamp.commit == "not recorded"


def test_absent_parts_are_absent() -> None:
    sections = evaluation_sections({"new_wordings": {"full": {"clicks": measured(0.5)}}})

    assert [section.heading for section in sections] == ["Arms: new wordings"]


@pytest.mark.parametrize("value", [{}, {"new_wordings": {}}, {"new_wordings": 3, "tau": "x"}])
def test_json_without_arms_is_refused(value: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match="no arms here"):
        evaluation_sections(value)


def test_a_value_that_is_no_number_is_no_figure() -> None:
    row = measured(0.5) | {"recall_at_10": float("nan"), "precision_at_1": "high"}
    table = evaluation_sections({"s": {"full": {"clicks": row}}})[0].tables[0]

    assert "P@1" not in table.columns
    assert "nan" not in str(table.rows)
