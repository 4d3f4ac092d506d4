import pytest
from pydantic import TypeAdapter, ValidationError

from shared.contracts.synthetic_queries import Evidence, SyntheticQueries, WrittenQueries


def test_evidence_is_a_pair_in_json_and_comes_back() -> None:
    row = SyntheticQueries(
        document_id="d", queries=["a", "b"], evidence=[Evidence(1.0, -0.5), Evidence(0.25)]
    )

    text = row.model_dump_json()

    assert '"evidence":[[1.0,-0.5],[0.25,null]]' in text
    assert SyntheticQueries.model_validate_json(text) == row


def test_a_bare_list_is_queries_without_evidence() -> None:
    assert WrittenQueries.model_validate(["a"]) == WrittenQueries(queries=["a"])
    assert WrittenQueries.model_validate_json('["a"]') == WrittenQueries(queries=["a"])


def test_a_row_of_an_earlier_version_has_no_evidence() -> None:
    row = SyntheticQueries.model_validate_json('{"document_id": "d", "queries": ["a"]}')

    assert row.evidence == []


@pytest.mark.parametrize(
    "evidence",
    [[[0.5, -1.0]], [[1.5, -1.0], [0.5, -1.0]], [[0.5, 1.0], [0.5, -1.0]], [["x"], [1]]],
)
def test_evidence_that_cannot_be_is_refused(evidence: object) -> None:
    with pytest.raises(ValidationError):
        SyntheticQueries.model_validate(
            {"document_id": "d", "queries": ["a", "b"], "evidence": evidence}
        )


def test_what_was_searched_is_three_numbers_in_json_and_comes_back() -> None:
    row = SyntheticQueries(
        document_id="d",
        queries=["a", "b"],
        evidence=[Evidence(0.0, -0.5, 0.75), Evidence(0.25, None, 0.0)],
    )

    text = row.model_dump_json()

    assert '"evidence":[[0.0,-0.5,0.75],[0.25,null,0.0]]' in text
    assert SyntheticQueries.model_validate_json(text) == row


def test_fewer_than_no_lines_cannot_be_expected() -> None:
    with pytest.raises(ValidationError):
        WrittenQueries.model_validate({"queries": ["a"], "evidence": [[0.5, -1.0, -0.1]]})
    with pytest.raises(ValidationError):
        WrittenQueries.model_validate_json('{"queries": ["a"], "evidence": [[0.5, -1.0, 1e999]]}')


def test_what_is_answered_has_the_schema_of_what_is_taken() -> None:
    answered = SyntheticQueries.model_json_schema(mode="serialization")

    items = answered["properties"]["evidence"]["items"]
    assert (items["minItems"], items["maxItems"]) == (1, 3)
    assert items == TypeAdapter(Evidence).json_schema()
