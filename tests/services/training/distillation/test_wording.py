from services.training.distillation.teacher_data import Example
from services.training.distillation.wording import in_words_of_the_log
from shared.contracts.document import Document
from shared.dataset import Query
from tests.support.encoders import BagOfWordsEncoder

QUERIES = [Query(id="q1", text="red bicycle"), Query(id="q2", text="garden hose")]


def words(*answers: str, min_similarity: float = 0.9) -> list[str]:
    example = Example(Document(id="d", title="bicycle"), list(answers))
    [told] = in_words_of_the_log(
        [example], QUERIES, BagOfWordsEncoder(), min_similarity=min_similarity
    )
    assert told.document is example.document
    return list(told.queries)


def test_an_answer_near_to_a_train_query_becomes_it() -> None:
    assert words("bicycle red", "hose garden") == ["red bicycle", "garden hose"]


def test_what_no_train_query_is_near_to_stays_as_it_is() -> None:
    assert words("red car", "bicycle red") == ["red car", "red bicycle"]
    assert words("red car", min_similarity=0.2) == ["red bicycle"]


def test_of_answers_that_become_the_same_the_first_stays() -> None:
    assert words("bicycle red", "a car", "red bicycle") == ["red bicycle", "a car"]


def test_many_answers_are_encoded_in_parts() -> None:
    many = [f"word{number}" for number in range(2_500)]

    assert words(*many, "bicycle red") == [*many, "red bicycle"]
