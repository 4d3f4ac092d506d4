from loadtests.choice import parted
from shared.dataset import Dataset, Query


def test_half_of_the_validation_queries_judge_and_no_test_query_is_left() -> None:
    splits = ["train", "validation", "test", "validation", "test", "validation", "validation"]
    queries = [Query(id=f"q{n}", text=f"t{n}", split=s) for n, s in enumerate(splits)]

    made = parted(Dataset([], queries, {}, {}))

    assert {query.id: query.split for query in made.queries} == {
        "q0": "train",
        "q1": "validation",
        "q3": "test",
        "q5": "validation",
        "q6": "test",
    }
