"""The teacher's rules, and the answers in the repository, which carry nothing a reader could not write."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from services.training.distillation.answer_rules import broken_rules, names_of
from shared.contracts.document import Document
from shared.dataset import numbered_lines
from shared.plain_text import words_of

FOLDER = Path(__file__).resolve().parents[4] / "deploy" / "models" / "teacher"
FILES = sorted([*FOLDER.glob("*.jsonl"), *FOLDER.glob("*.jsonl.xz")])
FEWEST_ANSWERS = 1_500
"""Issue 3, point 2."""
MOST_DOUBTFUL_SHARE = 0.01
DOUBTFUL = {"repeated", "a number from elsewhere", "a name from elsewhere", "the title and a word"}
"""A machine's reading of these is too strict now and then: board game and game board, 24 hours for day
and night. Everything else no answer does."""
KINDS = {"06": "artifact", "13": "food"}
"""What a document of WordNet says of its kind, by the lexicographer's file in its id."""
GLOSSES = {"equipment": "an instrumentality needed for an undertaking"}
"""Of things whose gloss itself speaks WordNet's language; the others' are not needed, or not shipped."""

PAN = Document(
    id="page-pan",
    title="Ferndell Iron Pan 26 cm",
    text="Holds forty sausages on a Saturday. Made in our foundry, for gas and campfires.",
    metadata={"brand": "Ferndell", "location": "Port Ansley"},
)
QUERIES = ["frying pan", "iron cookware", "pan for campfire", "26 cm pan", "pan for 40 people"]


def test_an_answer_that_keeps_the_rules_breaks_none() -> None:
    assert broken_rules(PAN, QUERIES, names_of([PAN])) == []


@pytest.mark.parametrize(
    ("fault", "query"),
    [
        ("not lower case", "Skillet"),
        ("over 8 words", "a pan that a cook can carry to camp"),
        ("title", "iron pan ferndell 26 cm"),
        ("the title and a word", "ferndell iron pans 26 cm cheap"),
        ("repeated", "pans, frying"),
        ("a number from elsewhere", "28 cm skillet"),
        ("a name from elsewhere", "kestrel skillet"),
        ("address", "ferndell.example skillet"),
        ("markup", "<b>skillet</b>"),
        ("length", "x"),
        ("WordNet's keys", "frying_pan"),
        ("WordNet's keys", "skillet.n.01"),
        ("WordNet's keys", "skillet%1:06:00::"),
        ("WordNet's keys", "skillet~251"),
        ("WordNet's words", "instrumentality"),
        ("WordNet's words", "physical entity"),
    ],
)
def test_each_fault_is_named(fault: str, query: str) -> None:
    names = names_of([PAN, Document(id="x", title="x", metadata={"brand": "Kestrel"})])

    broken = broken_rules(PAN, [*QUERIES, query], names)

    assert fault in {rule.split(":")[0] for rule in broken}


@pytest.mark.parametrize("queries", [QUERIES[:3], [f"pan of kind {n}" for n in "abcdefghijklm"]])
def test_an_answer_has_four_to_twelve_queries(queries: list[str]) -> None:
    assert "expected 4 to 12" in " ".join(broken_rules(PAN, queries))


def test_a_word_that_is_also_written_small_is_no_name() -> None:
    other = Document(id="x", title="x", text="a kestrel", metadata={"brand": "Kestrel and Moor"})

    assert names_of([other]) == {"moor"}


def test_there_are_answers_enough() -> None:
    assert sum(1 for path in FILES for _ in _answers(path)) >= FEWEST_ANSWERS


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_answers_carry_nothing_a_reader_of_the_document_could_not_write(path: Path) -> None:
    answers = list(_answers(path))
    names = names_of(document for document, _ in answers) - _widely_used(answers)

    broken = [rule for answer in answers for rule in broken_rules(*answer, names)]
    doubtful = [rule for rule in broken if rule.split(":")[0] in DOUBTFUL]

    assert len({document.id for document, _ in answers}) == len(answers)
    assert [rule for rule in broken if rule not in doubtful] == []
    assert len(doubtful) <= MOST_DOUBTFUL_SHARE * len(answers), doubtful


def _answers(path: Path) -> Iterator[tuple[Document, Sequence[str]]]:
    """Yield documents with their queries; of a thing the file has the id alone, which spells its title."""
    for _, line in numbered_lines(path):
        if line:
            row = json.loads(line)
            document = row["document"] if "document" in row else _thing(row["id"])
            yield Document.model_validate(document), row["queries"]


def _thing(identifier: str) -> dict[str, object]:
    lemma, _, key = identifier.partition("~251~3A")
    title = lemma.replace("~27", "'").replace("_", " ")
    metadata = {"kind": KINDS[key[:2]]}
    return {"id": identifier, "title": title, "text": GLOSSES.get(title, ""), "metadata": metadata}


def _widely_used(answers: Sequence[tuple[Document, Sequence[str]]]) -> set[str]:
    """Return the words of three answers or more: a name that leaked from a document has one or two."""
    uses = Counter(word for _, queries in answers for word in set(words_of(" ".join(queries))))
    return {word for word, count in uses.items() if count > 2}
