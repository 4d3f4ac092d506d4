"""`skim generate`: synthetic queries for a whole file in this process, resumable, without any service."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from services.cli.console import Advance, print_json, progress_bar
from services.cli.direction import read_described, read_train_queries, turned
from services.generation.app import load_generator
from services.generation.generator import QueryGenerator
from services.generation.settings import GenerationSettings
from services.generation.train_queries import read_texts
from shared.contracts.document import Document
from shared.contracts.synthetic_queries import SyntheticQueries
from shared.dataset import read_rows, write_lines, write_rows
from shared.prompt import PromptTokenizer, TitleOnlyPrompts
from shared.settings import CommonSettings

SAMPLING = {
    *("temperature", "top_k", "top_p", "max_new_tokens", "max_metadata_tokens"),
    *("samples", "max_queries", "min_line_probability"),
}
"""Settings that change what is written."""
_BATCH = 64
"""Documents written between two saves."""


def generate(
    documents: Annotated[
        Path, typer.Argument(help="documents.jsonl; queries.jsonl with SKIM_METADATA_SIDE=query.")
    ],
    output: Annotated[
        Path,
        typer.Option(
            help="File to write, {document_id, queries, evidence} a line; .gz or .xz packs it."
        ),
    ],
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only the first so many documents.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="Another model's folder (`skim distill export`).")
    ] = None,
    titles_only: Annotated[
        bool, typer.Option("--titles-only", help="Show it no metadata (the paper's ablation).")
    ] = False,
    train_queries: Annotated[
        Path | None,
        typer.Option(
            help="Data folder, file of train queries or index: search the SLM for them as well."
        ),
    ] = None,
) -> None:
    """Write synthetic queries for every document of a file; run it again to go on where it stopped.

    Beside NAME.jsonl, NAME.json says which model wrote them, how, and when.
    """
    common = CommonSettings()
    wanted = list(islice(read_described(documents, common), limit))
    folder = model or common.models / "slm"
    make_prompts = TitleOnlyPrompts if titles_only else PromptTokenizer
    source = train_queries or GenerationSettings().train_queries
    texts = None if source is None else _train_queries(source, common)
    generator = load_generator(folder, GenerationSettings(), make_prompts, train_queries=texts)
    searched = f".{_digest(texts)}" if texts else ""
    partial = output.with_name(f"{output.name}.{generator.name}{searched}.partial")
    with progress_bar(f"Generating with {generator.name}") as advance:
        generate_to(partial, wanted, generator, advance)
    written = {row.document_id: row for row in read_synthetic_queries(partial)}
    rows = [written[document.id] for document in wanted]
    write_rows(output, rows)
    partial.unlink()
    card = {
        "generator": generator.name,
        "adapter": generator.adapter,
        "settings": GenerationSettings().model_dump(include=SAMPLING),
        "searched_queries": generator.searched_queries,
        "documents": len(wanted),
        "queries": sum(len(row.queries) for row in rows),
        "sha256": hashlib.sha256(output.read_bytes()).hexdigest(),
        "date": datetime.now(UTC).date().isoformat(),
        "command": f"skim generate {documents.name} --output {output.name}"
        + (f" --model {model.name}" if model else "")
        + (" --titles-only" if titles_only else "")
        + (f" --train-queries {source.name}" if source else ""),
    }
    write_lines(card_of(output), [json.dumps(card, indent=2)])
    print_json({"output": str(output), **card})


def _train_queries(path: Path, common: CommonSettings) -> list[str]:
    """Return the texts of what is mapped to: of a file, of an index, or of a data folder what none of its splits holds out."""
    if path.is_file():
        return [query.text for query in read_train_queries(path, common)]
    if not (path / "queries.jsonl").exists():
        return read_texts(path)
    from services.training.distillation.teacher_data import read_for_teacher

    dataset = read_for_teacher(path)
    side = dataset if common.metadata_side == "document" else turned(dataset)
    return [query.text for query in side.queries_of("train")]


def _digest(texts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:8]


def card_of(output: Path) -> Path:
    """Return the path of the card beside a file of synthetic queries."""
    return output.with_name(
        output.name.removesuffix(".gz").removesuffix(".xz").removesuffix(".jsonl") + ".json"
    )


def generate_to(
    partial: Path, documents: Sequence[Document], generator: QueryGenerator, advance: Advance
) -> None:
    """Append the queries of those documents that are not yet in `partial`."""
    partial.parent.mkdir(parents=True, exist_ok=True)
    _drop_cut_line(partial)
    done = {row.document_id for row in read_synthetic_queries(partial)}
    open_documents = [document for document in documents if document.id not in done]
    before = len(documents) - len(open_documents)
    results = zip(open_documents, generator.stream(open_documents), strict=True)
    with partial.open("a", encoding="utf-8") as out:
        for count, (document, written) in enumerate(results, start=1):
            row = SyntheticQueries.of(document.id, written.written)
            out.write(row.model_dump_json() + "\n")
            if count % _BATCH == 0 or count == len(open_documents):
                out.flush()
                advance(before + count, len(documents))


def read_synthetic_queries(path: Path) -> Iterator[SyntheticQueries]:
    """Yield the rows of a file that `skim generate` wrote, packed or not."""
    return read_rows(path, SyntheticQueries, key="document_id")


def _drop_cut_line(partial: Path) -> None:
    """Cut a file that a crash left in the middle of a line back to its last whole one."""
    with partial.open("a+b") as file:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
