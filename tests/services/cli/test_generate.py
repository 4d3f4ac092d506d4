import gzip
import hashlib
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from services.cli.__main__ import app
from services.cli.demo import COMMITTED
from services.cli.generate import card_of, generate_to, read_synthetic_queries
from services.generation.app import load_generator
from services.generation.generator import QueryGenerator
from services.generation.sampling import Sampling
from services.generation.settings import GenerationSettings
from services.mapping.settings import MappingSettings
from services.mapping.trust import Trust
from shared.contracts.document import Document
from shared.dataset import Query, read_documents, write_rows
from shared.errors import InvalidInput, NotFound
from shared.prompt import PromptTokenizer
from shared.settings import CommonSettings
from tests.support.language_models import FakeLanguageModel
from tests.support.tiny_models import END_TOKEN, write_tokenizer

LEAST_SHARED = 0.6
"""Of what is trusted here or there; another student shares a third."""
DOCUMENTS = [Document(id=f"d{number:03}", title=f"thing {number}") for number in range(100)]


class Written:
    """A run of `generate_to` in a folder."""

    def __init__(self, folder: Path) -> None:
        self.partial = folder / "out.jsonl.fake-1.partial"
        self._prompts = PromptTokenizer(write_tokenizer(folder), end_token=END_TOKEN)
        self.progress: list[tuple[int, int]] = []

    def run(self, *, breaks_at: int | None = None) -> int:
        """Return how many documents were asked for; the model breaks off at one of them if told."""

        def write(*_: str) -> str:
            if len(model.asked) == breaks_at:
                raise KeyboardInterrupt
            return "woodwind\nreed"

        model = FakeLanguageModel(self._prompts, write)
        generator = QueryGenerator(model, self._prompts, Sampling())
        generate_to(
            self.partial, DOCUMENTS, generator, lambda done, total: self._told(done, total)
        )
        return len(model.asked)

    def ids(self) -> list[str]:
        return [row.document_id for row in read_synthetic_queries(self.partial)]

    def _told(self, done: int, total: int) -> None:
        self.progress.append((done, total))


@pytest.fixture
def written(tmp_path: Path) -> Written:
    return Written(tmp_path)


@pytest.fixture
def home(tmp_path: Path, tiny_slm: Path) -> Path:
    (tmp_path / "home" / "models").mkdir(parents=True)
    (tmp_path / "home" / "models" / "slm").symlink_to(tiny_slm)
    return tmp_path / "home"


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    write_rows(tmp_path / "documents.jsonl", DOCUMENTS[:5])
    return tmp_path / "documents.jsonl"


def skim(home: Path, *arguments: object) -> Result:
    environment = {
        "SKIM_HOME": str(home),
        "SKIM_GENERATION_THREADS": "1",
        "SKIM_GENERATION_MAX_NEW_TOKENS": "24",
    }
    return CliRunner().invoke(app, ["generate", *map(str, arguments)], env=environment)


def test_every_document_is_written_once_and_progress_is_told(written: Written) -> None:
    assert written.run() == 100
    assert written.ids() == [document.id for document in DOCUMENTS]
    assert written.progress == [(64, 100), (100, 100)]


def test_a_run_that_broke_off_goes_on_where_it_stopped(written: Written) -> None:
    with pytest.raises(KeyboardInterrupt):
        written.run(breaks_at=70)

    assert written.run() == 45  # the model, broken off at 70, was 15 ahead
    assert written.ids() == [document.id for document in DOCUMENTS]
    assert written.progress[-1] == (100, 100)


def test_a_line_that_a_crash_cut_is_written_again(written: Written) -> None:
    with pytest.raises(KeyboardInterrupt):
        written.run(breaks_at=70)
    content = written.partial.read_bytes()
    written.partial.write_bytes(content[:-9])

    assert written.run() == 46
    assert written.partial.read_bytes().startswith(content)
    assert written.ids() == [document.id for document in DOCUMENTS]


def test_the_card_stands_beside_the_file_packed_or_not() -> None:
    assert card_of(Path("a/queries.jsonl.gz")) == card_of(Path("a/queries.jsonl"))
    assert card_of(Path("a/queries.jsonl.xz")) == card_of(Path("a/queries.jsonl"))
    assert card_of(Path("a/queries.jsonl")) == Path("a/queries.json")


def test_a_packed_output_holds_what_a_plain_one_does(
    home: Path, documents: Path, tmp_path: Path
) -> None:
    plain, packed = tmp_path / "plain.jsonl", tmp_path / "packed.jsonl.gz"

    assert skim(home, documents, "--output", plain).exit_code == 0
    assert skim(home, documents, "--output", packed).exit_code == 0

    assert gzip.decompress(packed.read_bytes()) == plain.read_bytes()
    assert [row.document_id for row in read_synthetic_queries(packed)] == [
        document.id for document in DOCUMENTS[:5]
    ]
    card = json.loads((tmp_path / "packed.json").read_text())
    assert card["generator"].startswith("tiny-")
    assert card["documents"] == 5
    assert card["queries"] == sum(len(row.queries) for row in read_synthetic_queries(packed))
    assert card["sha256"] == hashlib.sha256(packed.read_bytes()).hexdigest()
    assert not list(tmp_path.glob("*.partial"))


def test_a_limit_takes_the_first_documents(home: Path, documents: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"

    result = skim(home, documents, "--output", output, "--limit", 2)

    assert json.loads(result.stdout)["documents"] == 2
    assert [row.document_id for row in read_synthetic_queries(output)] == ["d000", "d001"]


def test_a_limit_below_what_a_broken_run_left_counts_its_own_queries_only(
    home: Path, documents: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.jsonl"
    name = json.loads((home / "models" / "slm" / "generator.json").read_text())["name"]
    rows = [f'{{"document_id":"{d.id}","queries":["a","b"]}}\n' for d in DOCUMENTS[:4]]
    output.with_name(f"out.jsonl.{name}.partial").write_text("".join(rows))

    result = skim(home, documents, "--output", output, "--limit", 3)

    assert json.loads(result.stdout)["queries"] == 6
    assert len(list(read_synthetic_queries(output))) == 3


def test_the_slm_is_searched_for_train_queries_and_the_card_says_so(
    home: Path, documents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKIM_GENERATION_MIN_LINE_PROBABILITY", "1e-9")
    queries = tmp_path / "queries.jsonl"
    texts = [chr(letter) * 2 for letter in range(ord("a"), ord("z") + 1)]
    rows = [Query(id=text, text=text) for text in texts]
    write_rows(queries, [*rows, Query(id="held-out", text="qx", split="test")])
    output = tmp_path / "out.jsonl"

    result = skim(home, documents, "--output", output, "--train-queries", queries)

    assert result.exit_code == 0
    evidence = [each for row in read_synthetic_queries(output) for each in row.evidence]
    assert evidence
    assert all(each.expected is not None for each in evidence)
    card = json.loads((tmp_path / "out.json").read_text())
    assert card["searched_queries"] == len(texts)
    assert card["command"].endswith(" --train-queries queries.jsonl")


def test_a_search_that_the_environment_asks_for_keeps_apart_what_was_not_searched(
    home: Path, documents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries, output = tmp_path / "queries.jsonl", tmp_path / "out.jsonl"
    write_rows(queries, [Query(id=letter, text=letter * 2) for letter in "abcdefgh"])
    name = json.loads((home / "models" / "slm" / "generator.json").read_text())["name"]
    unsearched = output.with_name(f"out.jsonl.{name}.partial")
    unsearched.write_text('{"document_id":"d000","queries":["a"],"evidence":[[1.0,-0.1]]}\n')
    monkeypatch.setenv("SKIM_GENERATION_MIN_LINE_PROBABILITY", "1e-9")
    monkeypatch.setenv("SKIM_GENERATION_TRAIN_QUERIES", str(queries))

    assert skim(home, documents, "--output", output).exit_code == 0

    rows = list(read_synthetic_queries(output))
    assert all(each.expected is not None for row in rows for each in row.evidence)
    assert unsearched.exists()
    assert (
        "--train-queries queries.jsonl"
        in json.loads((tmp_path / "out.json").read_text())["command"]
    )


@pytest.mark.parametrize("is_folder", [False, True])
def test_where_queries_have_the_metadata_titles_are_searched_for(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_folder: bool
) -> None:
    monkeypatch.setenv("SKIM_METADATA_SIDE", "query")
    folder = tmp_path / "data"
    folder.mkdir()
    write_rows(folder / "documents.jsonl", DOCUMENTS[:7])
    write_rows(folder / "queries.jsonl", [Query(id="q1", text="aa"), Query(id="q2", text="bb")])
    (folder / "clicks.tsv").write_text("q1\td000\t1\n")
    output = tmp_path / "out.jsonl"
    searched = folder if is_folder else folder / "documents.jsonl"

    result = skim(home, folder / "queries.jsonl", "--output", output, "--train-queries", searched)

    assert result.exit_code == 0, result.exception
    assert json.loads((tmp_path / "out.json").read_text())["searched_queries"] == 7


def test_a_search_needs_train_queries(home: Path, documents: Path, tmp_path: Path) -> None:
    queries = tmp_path / "queries.jsonl"
    write_rows(queries, [Query(id="held-out", text="qx", split="test")])

    result = skim(home, documents, "--output", tmp_path / "out.jsonl", "--train-queries", queries)

    assert isinstance(result.exception, InvalidInput)
    assert "none of 0 train queries" in str(result.exception)


def test_a_file_that_holds_no_documents_is_refused_by_line_before_the_model_loads(
    tmp_path: Path,
) -> None:
    wrong = tmp_path / "queries.jsonl"
    wrong.write_text('{"id":"q1","text":"oboe"}\n')

    result = skim(tmp_path, wrong, "--output", tmp_path / "out.jsonl")

    assert isinstance(result.exception, InvalidInput)
    assert f"{wrong}:1:title" in str(result.exception)


def test_without_a_model_the_error_says_what_to_run(documents: Path, tmp_path: Path) -> None:
    result = skim(tmp_path, documents, "--output", tmp_path / "out.jsonl")

    assert isinstance(result.exception, NotFound)
    assert "skim models build" in str(result.exception)


@pytest.mark.slow
def test_the_shipped_queries_are_what_the_shipped_slm_writes() -> None:
    """To the word only on one kind of processor: a draw near a tie falls the other way on another, and the text goes on from there."""
    models, folder = CommonSettings().models, CommonSettings().data / "things-2500"
    if not (models / "slm" / "generator.json").exists() or not folder.exists():
        pytest.skip("`skim models build` and `skim demo` make what this needs")
    shipped = {row.document_id: row for row in read_synthetic_queries(COMMITTED)}
    documents = list(read_documents(folder / "documents.jsonl"))[::50]
    generator = load_generator(models / "slm", GenerationSettings())
    try:
        written = generator.generate(documents)
    finally:
        generator.close()

    trust = Trust.of(MappingSettings())
    trusted = [
        {(number, query) for number, each in enumerate(rows) for query in trust.trusted(each)}
        for rows in ([shipped[document.id].bare() for document in documents], written)
    ]
    assert len(documents) == 50
    assert len(trusted[0] & trusted[1]) >= LEAST_SHARED * len(trusted[0] | trusted[1])
