"""`skim distill tune` and `skim distill export`: a student from a teacher's answers, and its ONNX files."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.console import print_json, progress_bar_with_note
from services.cli.models import name_of_adapter
from services.training.distillation.clicks_teacher import click_examples
from services.training.distillation.teacher_data import (
    Example,
    hold_out,
    read_examples,
    read_for_teacher,
    read_taught,
)
from shared.errors import InvalidInput
from shared.settings import CommonSettings

if TYPE_CHECKING:
    from services.training.distillation.sft import FineTuneSettings


class Teacher(StrEnum):
    """Whose answers the student learns."""

    ANSWERS = "answers"
    CLICKS = "clicks"
    """The train queries that were clicked for well-covered documents; no large model."""
    BOTH = "both"


class Precision(StrEnum):
    """Of the exported weights."""

    INT8 = "int8"
    INT4 = "int4"
    FP16 = "fp16"
    FP32 = "fp32"


class Device(StrEnum):
    """What the exported graph runs on."""

    CPU = "cpu"
    CUDA = "cuda"


def tune(
    folder: Annotated[Path, typer.Argument(help="Data folder: documents, queries, clicks.")],
    target: Annotated[Path, typer.Option(help="Folder to write the adapter to.")],
    teacher: Annotated[
        Teacher, typer.Option(help="answers need files; clicks are the log's own.")
    ] = Teacher.ANSWERS,
    answers: Annotated[
        Path | None, typer.Option(help="Answers for documents of FOLDER: {id, queries} a line.")
    ] = None,
    pages: Annotated[
        Path | None, typer.Option(help="Answers with their documents: {document, queries} a line.")
    ] = None,
    base: Annotated[
        str | None, typer.Option(help="Llama-like model: folder or hub id; the pinned if absent.")
    ] = None,
    metadata: Annotated[
        bool, typer.Option(help="--no-metadata hides all but the title from the student.")
    ] = True,
    rank: Annotated[int, typer.Option(min=1, help="Of the LoRA matrices.")] = 8,
    alpha: Annotated[int, typer.Option(min=1, help="LoRA's scale, times the rank.")] = 16,
    dropout: Annotated[
        float, typer.Option(min=0, max=0.9, help="Share of LoRA's inputs left out in training.")
    ] = 0.05,
    learning_rate: Annotated[float, typer.Option(min=0)] = 3e-4,
    batch_size: Annotated[int, typer.Option(min=1)] = 64,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the answers, at most.")] = 2,
    patience: Annotated[
        int,
        typer.Option(min=1, help="Epochs without a gain on held-out documents before it stops."),
    ] = 1,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
) -> None:
    """Fine-tune the student with LoRA (the paper's settings); run it again to go on after a kill.

    A tenth of the documents is held out: it chooses the epoch and ends the run early.
    """
    from services.training.distillation.sft import FineTuneSettings

    settings = FineTuneSettings(
        rank=rank,
        alpha=alpha,
        dropout=dropout,
        learning_rate=learning_rate,
        batch_size=batch_size,
        epochs=epochs,
        patience=patience,
        reads_metadata=metadata,
        seed=seed,
    )
    examples = taught_examples(folder, teacher, answers, pages)
    print_json(tune_student(examples, base, target, settings))


def export(
    adapter: Annotated[Path, typer.Argument(help="Folder of the adapter.")],
    target: Annotated[Path, typer.Option(help="Folder to write; replaced if it exists.")],
    base: Annotated[
        str | None, typer.Option(help="What the adapter was tuned on; the pinned if absent.")
    ] = None,
    device: Annotated[Device, typer.Option(help="What it will run on.")] = Device.CPU,
    precision: Annotated[Precision, typer.Option(help="Of the weights.")] = Precision.INT8,
) -> None:
    """Merge an adapter into its base and write the ONNX files that the generation service loads."""
    from services.training.distillation.base_model import base_folder
    from services.training.distillation.export import (
        ExportSettings,
        export_language_model,
        merge_adapter,
    )

    settings = ExportSettings(device.value, precision.value)
    settings.builder_options()  # what does not go together is told before the work
    source = base_folder(base, CommonSettings().models / "sources")
    with tempfile.TemporaryDirectory() as scratch:
        merge_adapter(source, adapter, Path(scratch))
        card = export_language_model(
            Path(scratch),
            target,
            name=source.name,
            adapter=name_of_adapter(adapter),
            settings=settings,
        )
    print_json({"target": str(target), **card.model_dump()})


def taught_examples(
    folder: Path, teacher: Teacher, answers: Path | None, pages: Path | None
) -> list[Example]:
    """Return what the teacher of this name teaches; a query that any split holds out teaches nothing.

    Raises:
        InvalidInput: the teacher's files are missing.
    """
    dataset = read_for_teacher(folder)
    examples: list[Example] = []
    if teacher is not Teacher.CLICKS:
        if answers is None and pages is None:
            raise InvalidInput(f"the teacher {teacher.value!r} needs --answers or --pages")
        examples += read_examples(answers, dataset.documents) if answers else []
        examples += read_taught(pages) if pages else []
    if teacher is not Teacher.ANSWERS:
        examples += click_examples(dataset)
    return examples


def tune_student(
    examples: Sequence[Example], base: str | None, target: Path, settings: FineTuneSettings
) -> dict[str, object]:
    """Fine-tune on nine tenths of the examples, with a progress bar; return what to tell the user.

    Raises:
        InvalidInput: too few examples to hold any out.
    """
    from services.training.distillation.base_model import base_folder
    from services.training.distillation.sft import fine_tune

    learn, held_out = hold_out(examples)
    if not learn or not held_out:
        raise InvalidInput(f"{len(examples)} examples are too few to learn from and to hold out")
    source = base_folder(base, CommonSettings().models / "sources")
    with progress_bar_with_note(f"Tuning on {len(learn)} answers") as advance:
        report = fine_tune(
            source,
            learn,
            held_out,
            target,
            settings,
            lambda done, total, note: advance(done, total, note),
        )
    return {
        "target": str(target),
        "examples": report.examples,
        "held_out_losses": report.held_out_losses,
        "best_epoch": report.best_epoch,
        "seconds": report.seconds,
    }
