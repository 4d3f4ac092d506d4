from shared.report_page.gap_tables import gap_section, gap_tables
from tests.support.evaluations import knowledge_gaps


def test_counts_stand_beside_their_shares() -> None:
    figures = dict(gap_tables(knowledge_gaps())[0].rows)

    assert figures["documents without a click"] == "6 (60.0%)"
    assert figures["documents without a click that labels reached"] == "3 (50.0%)"
    assert (
        figures["relevant pairs that no reweighting of clicks can help (no click in the cell)"]
        == "30 (75.0%)"
    )
    assert figures["these pairs: found by labels"] == "12 (40.0%)"
    assert figures["synthetic queries that map to nothing"] == "10 (20.0%)"


def test_without_truth_nothing_is_said_about_being_right() -> None:
    gaps = knowledge_gaps()
    unjudged = gaps.model_copy(
        update={
            "document_gaps": gaps.document_gaps.model_copy(update={"reached_rightly": None}),
            "unreachable": gaps.unreachable.model_copy(
                update={"basis": "labels", "labelled": None}
            ),
        }
    )

    figures = dict(gap_tables(unjudged)[0].rows)

    assert not [name for name in figures if "truth" in name or "relevant" in name]
    assert (
        "augmented labels that no reweighting of clicks can help (no click in the cell)" in figures
    )


def test_a_kind_of_gap_without_examples_has_no_table() -> None:
    gaps = knowledge_gaps()
    none = gaps.model_copy(update={"hubs": gaps.hubs.model_copy(update={"examples": []})})

    captions = [table.caption for table in gap_tables(none)]

    assert len(captions) == len(gap_tables(gaps)) - 1
    assert "Train queries that absorb most documents" not in captions


def test_coverage_is_drawn_before_and_after_for_documents_and_queries() -> None:
    documents, queries = gap_section(knowledge_gaps()).plots

    assert [(line.name, list(line.y)) for line in documents.series] == [
        ("clicks", [40.0]),
        ("clicks + labels", [70.0]),
    ]
    assert [list(line.y) for line in queries.series] == [[50.0], [100.0]]
