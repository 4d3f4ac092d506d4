"""`skim distill evaluate`: what each way of writing synthetic queries is worth, on held-out documents."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli.console import out, print_json
from services.cli.data import THINGS, data_folder
from services.cli.models import REPOSITORY
from services.cli.writers import ROWS, Writers
from shared.dataset import Dataset, read_dataset
from shared.encoder import SentenceEncoder
from shared.errors import InvalidInput
from shared.settings import CommonSettings

if TYPE_CHECKING:
    from services.training.distillation.judging import Judge

TEACHER = REPOSITORY / "deploy" / "models" / "teacher"
ANSWERS = TEACHER / "things.jsonl.xz"
"""The teacher's for things: {id, queries} a line."""
KEPT = REPOSITORY / "deploy" / "models" / "quality"
"""What every row wrote, so that the table is made again without hours of tuning."""
SHIPPED_ROW = "shipped"
DRAWN_ROW = "shipped_drawn"
"""The same student without a search: elsewhere there are no train queries."""
NOT_JUDGED_BY_LABELS = ("pages", "other_languages")
"""Sets of documents with the teacher's answers only; what the shipped student writes for them is looked at."""


def evaluate(
    folder: Annotated[Path, typer.Argument(help="Data folder, or the known set `things`.")],
    rows: Annotated[
        str | None, typer.Option(help=f"Comma-separated, of {', '.join(ROWS)}; all if absent.")
    ] = None,
    answers: Annotated[
        Path | None, typer.Option(help="The teacher's answers; those shipped, for things.")
    ] = None,
    documents: Annotated[int, typer.Option(min=10, help="Held-out documents to read.")] = 400,
    skip: Annotated[
        int,
        typer.Option(min=0, help="Pass over the first so many: settings are chosen on others."),
    ] = 0,
    min_similarity: Annotated[
        float, typer.Option(min=-1, max=1, help="tau of the labels that are judged.")
    ] = 0.9,
    written: Annotated[
        Path | None, typer.Option(help="Folder of what rows wrote; the shipped one, for things.")
    ] = None,
    regenerate: Annotated[
        bool, typer.Option("--regenerate", help="Write anew; students that are missing are tuned.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Judge synthetic queries on documents that no student learned from.

    Each row is a way of writing them: key phrases, the untuned model, students of different teachers,
    the shipped one. What a row wrote is kept and used again; the first time may take a student's tuning.
    Labels are judged by the truth of train queries, if the folder has any.
    """
    from services.training.distillation.judging import as_figures, as_table

    names = _chosen(rows)
    is_things = str(folder) == THINGS
    if answers is None and not is_things:
        raise InvalidInput("--answers is needed: answers are shipped for things only")
    source, answers = data_folder(folder), answers or ANSWERS
    dataset = read_dataset(source)
    judge = _judge(dataset, answers, documents, skip)
    is_report = is_things and answers == ANSWERS and not skip
    kept = written or (KEPT if is_report else _kept_apart(source, answers))
    pages = TEACHER / "pages.jsonl" if answers == ANSWERS else None
    writers = Writers(source, dataset, answers, pages)
    qualities = {}
    for name in names:
        taken = writers.written(name, judge.documents, kept, regenerate=regenerate)
        qualities[name] = judge.judge(taken, min_similarity)
    figures = as_figures(qualities, shipped=SHIPPED_ROW)
    figures |= {"min_similarity": min_similarity, "documents": len(judge.documents)}
    if SHIPPED_ROW in names and is_report:
        figures["shipped_elsewhere"] = _elsewhere(writers, kept, regenerate=regenerate)
    if as_json:
        print_json(figures)
    else:
        out.print(as_table(figures))


def _kept_apart(source: Path, answers: Path) -> Path:
    """Return where rows are kept that are not the shipped report's: a folder for each file of answers."""
    return source / "written" / hashlib.sha256(answers.read_bytes()).hexdigest()[:8]


def _chosen(rows: str | None) -> Sequence[str]:
    names = list(ROWS) if rows is None else [name.strip() for name in rows.split(",")]
    if unknown := set(names) - set(ROWS):
        raise InvalidInput(
            f"{', '.join(sorted(unknown))}: no such row; expected of {', '.join(ROWS)}"
        )
    return names


def _judge(dataset: Dataset, answers: Path, count: int, skip: int) -> Judge:
    from services.training.distillation.judging import Judge
    from services.training.distillation.teacher_data import read_examples

    examples = read_examples(answers, dataset.documents)
    queries = dataset.queries_of("train")
    judge = Judge.of_held_out(dataset, examples, queries, _encoder(), count, skip=skip)
    if not judge.reference.teacher and not skip:
        raise InvalidInput(f"{answers}: no answer for a held-out document")
    return judge


def _elsewhere(writers: Writers, kept: Path, *, regenerate: bool) -> dict[str, Any]:
    """Return how the shipped student does on landing pages and on documents that are not English."""
    from services.training.distillation.judging import Judge
    from services.training.distillation.teacher_data import hold_out, read_taught

    figures: dict[str, Any] = {}
    for name in NOT_JUDGED_BY_LABELS:
        examples = read_taught(TEACHER / f"{name}.jsonl")
        if name == "pages":
            examples = hold_out(examples)[1]
        judge = Judge.of_taught(examples, _encoder())
        rows = writers.written(DRAWN_ROW, judge.documents, kept / name, regenerate=regenerate)
        figures[name] = {"documents": len(rows), **judge.judge(rows, 1.0).figures()}
    return figures


def _encoder() -> SentenceEncoder:
    return SentenceEncoder(CommonSettings().models / "encoder")
