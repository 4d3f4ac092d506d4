"""The ways of writing synthetic queries that are compared, each with what it wrote on disk."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from services.cli.console import Advance, err, progress_bar
from services.cli.generate import SAMPLING
from services.cli.models import SHIPPED, build_models, name_of_adapter
from services.cli.student import Teacher, taught_examples, tune_student
from services.generation.app import load_generator
from services.generation.generator import QueryGenerator
from services.generation.settings import GenerationSettings
from services.mapping.settings import MappingSettings
from services.mapping.trust import Trust
from shared.contracts.document import Document
from shared.dataset import Dataset, read_rows, write_rows
from shared.prompt import PromptTokenizer, TitleOnlyPrompts
from shared.settings import CommonSettings

if TYPE_CHECKING:
    from services.training.distillation.quality import Written
    from services.training.distillation.sft import FineTuneSettings
    from services.training.distillation.teacher_data import Example

CARDS = "written.json"
"""Beside what rows wrote: which model wrote it, how, when, and the file's sha256."""
LIKELIEST: Mapping[str, Any] = {
    "temperature": 0.0,
    "samples": 1,
}
"""How untuned models are decoded: the likeliest completion, all of it; they do not agree with themselves."""
_LIKELIEST = "_likeliest"
"""Ends the name of a row whose student another row has as it is served."""
_ALL = Trust(0.0, None, 0, min_expected=0.0)


@dataclass(frozen=True)
class Student:
    """A language model and how it writes.

    Args:
        teacher: whose answers it learned, to be tuned here if it is not there; None if untuned. The
            answers' landing pages belong to them, but teach nobody who sees titles only.
        is_shipped: it is the adapter that comes with SKIM.
        reads_metadata: False shows it titles only.
        sees_examples: it is shown a few documents with their queries first.
        writes_as_served: it decodes as the service does, and what the mapping trusts is judged; else all of
            the likeliest completion.
        is_searched: it is searched for the train queries.
        min_expected: another bound of trust than the service's, where it is searched.
    """

    teacher: Teacher | None = None
    is_shipped: bool = False
    reads_metadata: bool = True
    sees_examples: bool = False
    writes_as_served: bool = False
    is_searched: bool = False
    min_expected: float | None = None


_SHIPPED = Student(is_shipped=True, writes_as_served=True, is_searched=True)
KEY_PHRASES = "key_phrases"
STUDENTS: Mapping[str, Student] = {
    "untuned": Student(),
    "few_shot": Student(sees_examples=True),
    "clicks": Student(Teacher.CLICKS, writes_as_served=True),
    "teacher": Student(Teacher.ANSWERS, writes_as_served=True),
    "teacher_no_metadata": Student(Teacher.ANSWERS, reads_metadata=False, writes_as_served=True),
    "shipped": _SHIPPED,
    "shipped_lenient": replace(_SHIPPED, min_expected=0.04),
    "shipped_strict": replace(_SHIPPED, min_expected=0.2),
    "shipped_drawn": replace(_SHIPPED, is_searched=False),
    "teacher_likeliest": Student(Teacher.ANSWERS),
    "shipped_likeliest": Student(is_shipped=True),
}
ROWS = (*STUDENTS, KEY_PHRASES)


class Writers:
    """Lets every row write queries for documents, tuning and exporting students that are missing.

    Args:
        folder: the data folder that students learn from.
        dataset: the same, read.
        answers: the teacher's answers for documents of it.
        pages: the teacher's answers with documents of their own, if there are any.
    """

    def __init__(
        self, folder: Path, dataset: Dataset, answers: Path, pages: Path | None = None
    ) -> None:
        self._folder, self._dataset, self._answers, self._pages = folder, dataset, answers, pages
        self._common = CommonSettings()

    def written(
        self, row: str, documents: Sequence[Document], kept: Path, *, regenerate: bool
    ) -> list[Written]:
        """Return what a row wrote for each document, from `kept` if it is there for all of them."""
        from services.training.distillation.quality import Written

        path = kept / f"{row}.jsonl.gz"
        if path.exists() and not regenerate:
            found = {
                line.document_id: line for line in read_rows(path, Written, key="document_id")
            }
            if all(document.id in found for document in documents):
                return [found[document.id] for document in documents]
        lines, card = self._write(row, documents)
        write_rows(path, lines)
        _keep_card(kept / CARDS, row, path, {**card, "documents": len(lines)})
        return lines

    def _write(
        self, row: str, documents: Sequence[Document]
    ) -> tuple[list[Written], Mapping[str, Any]]:
        if row == KEY_PHRASES:
            from services.training.distillation.key_phrases import GENERATOR, key_phrases

            return key_phrases(documents), {"generator": GENERATOR}
        student = STUDENTS[row]
        settings, trust = GenerationSettings(), _ALL
        if not student.writes_as_served:
            settings = settings.model_copy(update=LIKELIEST)
        else:
            trust = Trust.of(MappingSettings())
            if student.min_expected is not None:
                trust = replace(trust, min_expected=student.min_expected)
        folder = self._model_folder(row, student)
        texts = None
        if student.is_searched:
            texts = [query.text for query in self._dataset.queries_of("train")]
        generator = load_generator(
            folder,
            settings,
            self._make_prompts(student),
            train_queries=texts,
        )
        try:
            with progress_bar(f"Writing queries: {row}") as advance:
                lines = _write_all(generator, documents, trust, advance)
        finally:
            generator.close()
        return lines, {
            "generator": generator.name,
            "adapter": generator.adapter,
            "settings": settings.model_dump(include=SAMPLING),
            "searched_queries": generator.searched_queries,
            "trust": trust.name,
        }

    def _make_prompts(self, student: Student) -> Callable[..., PromptTokenizer]:
        """Return what makes the tokenizer of a student's prompts."""
        from services.training.distillation.students import (
            FEW_SHOT_EXAMPLES,
            FewShotPrompts,
        )
        from services.training.distillation.teacher_data import hold_out, read_examples

        if student.sees_examples:
            learn, _ = hold_out(read_examples(self._answers, self._dataset.documents))
            return partial(FewShotPrompts, examples=learn[:FEW_SHOT_EXAMPLES])
        return PromptTokenizer if student.reads_metadata else TitleOnlyPrompts

    def _model_folder(self, row: str, student: Student) -> Path:
        if student.is_shipped:
            build_models(self._common.models, SHIPPED)
            return self._common.models / "slm"
        home = self._common.home / "distill"
        if student.teacher is None:
            return self._exported(None, home / "untuned-onnx")
        from services.training.distillation.students import SETTINGS

        examples = self._examples(student.teacher, reads_metadata=student.reads_metadata)
        settings = replace(SETTINGS, reads_metadata=student.reads_metadata)
        adapter = home / f"{row.removesuffix(_LIKELIEST)}-{_digest(examples, settings)}"
        if not (adapter / "adapter_model.safetensors").exists():
            tune_student(examples, None, adapter, settings)
        return self._exported(adapter, adapter.with_name(f"{adapter.name}-onnx"))

    def _examples(self, teacher: Teacher, *, reads_metadata: bool) -> list[Example]:
        if teacher is Teacher.CLICKS:
            return taught_examples(self._folder, teacher, None, None)
        pages = self._pages if reads_metadata else None
        return taught_examples(self._folder, teacher, self._answers, pages)

    def _exported(self, adapter: Path | None, target: Path) -> Path:
        if not (target / "generator.json").exists():
            err.print(f"Exporting {target.name}")
            self._export(adapter, target)
        return target

    def _export(self, adapter: Path | None, target: Path) -> None:
        from services.training.distillation.base_model import base_folder
        from services.training.distillation.export import export_language_model, merge_adapter

        base = base_folder(None, self._common.models / "sources")
        with tempfile.TemporaryDirectory() as scratch:
            merge_adapter(base, adapter, Path(scratch))
            export_language_model(
                Path(scratch),
                target,
                name=base.name,
                adapter="none" if adapter is None else name_of_adapter(adapter),
            )


def _write_all(
    generator: QueryGenerator, documents: Sequence[Document], trust: Trust, advance: Advance
) -> list[Written]:
    from services.training.distillation.quality import Written

    lines: list[Written] = []
    for document, generated in zip(documents, generator.stream(documents), strict=True):
        dropped = {reason.value: count for reason, count in generated.dropped.items()}
        queries = trust.trusted(generated.written)
        lines.append(Written(document_id=document.id, queries=queries, dropped=dropped))
        advance(len(lines), len(documents))
    return lines


def _digest(examples: Sequence[Example], settings: FineTuneSettings) -> str:
    """Return 8 hex digits of what a student learns from and how: others are other students."""
    taught = [[example.document.model_dump(), list(example.queries)] for example in examples]
    return hashlib.sha256(orjson.dumps([taught, asdict(settings)])).hexdigest()[:8]


def _keep_card(path: Path, row: str, written: Path, card: Mapping[str, Any]) -> None:
    cards = orjson.loads(path.read_bytes()) if path.exists() else {}
    cards[row] = {
        **card,
        "sha256": hashlib.sha256(written.read_bytes()).hexdigest(),
        "date": datetime.now(UTC).date().isoformat(),
    }
    path.write_bytes(
        orjson.dumps(cards, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n"
    )
