"""How students may be tuned: what they learn from, and with which settings."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from services.training.distillation.clicks_teacher import click_examples
from services.training.distillation.sft import FineTuneSettings
from services.training.distillation.students import SETTINGS
from services.training.distillation.teacher_data import Example
from services.training.distillation.wording import in_words_of_the_log
from shared.dataset import Dataset
from shared.encoder import SentenceEncoder
from shared.settings import CommonSettings


@dataclass(frozen=True)
class Recipe:
    """What a student learns from, and how.

    Args:
        examples: chosen from (answers for the catalogue's documents, answers for pages, data set).
        settings: of the fine-tuning.
    """

    examples: Callable[[list[Example], list[Example], Dataset], list[Example]]
    settings: FineTuneSettings


def _both(answers: list[Example], pages: list[Example], dataset: Dataset) -> list[Example]:
    return [*answers, *pages, *click_examples(dataset)]


def _answers_only(answers: list[Example], pages: list[Example], dataset: Dataset) -> list[Example]:
    del dataset
    return [*answers, *pages]


def _first_both(answers: list[Example], pages: list[Example], dataset: Dataset) -> list[Example]:
    return [*answers[:2200], *pages, *click_examples(dataset)]


def _more_clicks(answers: list[Example], pages: list[Example], dataset: Dataset) -> list[Example]:
    return [*answers, *pages, *click_examples(dataset, min_queries=1)]


def _merged(answers: list[Example], pages: list[Example], dataset: Dataset) -> list[Example]:
    """One example a document: what was clicked among what the teacher wrote."""
    clicked = {example.document.id: example.queries for example in click_examples(dataset)}
    merged = [
        Example(
            example.document,
            list(dict.fromkeys([*clicked.pop(example.document.id, ()), *example.queries])),
        )
        for example in answers
    ]
    return [*merged, *pages, *(e for e in click_examples(dataset) if e.document.id in clicked)]


def _shuffled(answers: list[Example], pages: list[Example], dataset: Dataset) -> list[Example]:
    """Each answer twice: as written, and in another order, so that no query waits for another."""
    order = random.Random(0)
    examples = _both(answers, pages, dataset)
    return [
        *examples,
        *(Example(e.document, order.sample(list(e.queries), len(e.queries))) for e in examples),
    ]


def _in_words(examples: list[Example], dataset: Dataset) -> list[Example]:
    encoder = SentenceEncoder(CommonSettings().models / "encoder")
    queries = dataset.queries_of("train")
    return in_words_of_the_log(examples, queries, encoder, min_similarity=_SAME)


def _snapped(answers: list[Example], pages: list[Example], dataset: Dataset) -> list[Example]:
    """The teacher's answers in the words of train queries."""
    return [*_in_words(answers, dataset), *pages, *click_examples(dataset)]


_SAME = 0.9
"""Cosine from which an answer is a train query in other words."""
_FIRST = replace(SETTINGS, batch_size=16, rows_at_once=16, epochs=1)
_TWICE = SETTINGS
RECIPES: dict[str, Recipe] = {
    "both_3": Recipe(_both, replace(_TWICE, epochs=3, patience=3, dropout=0.05)),
    "more_clicks_2": Recipe(_more_clicks, _TWICE),
    "both_2_wide": Recipe(
        _both, replace(_TWICE, rank=64, alpha=128, dropout=0.05, learning_rate=7e-4)
    ),
    "both_2": Recipe(_both, _TWICE),
    "merged_2": Recipe(_merged, _TWICE),
    "shuffled": Recipe(_shuffled, replace(_TWICE, epochs=1)),
    "snapped_2": Recipe(_snapped, _TWICE),
    "teacher_2": Recipe(_answers_only, _TWICE),
    "titles_2": Recipe(
        lambda answers, pages, dataset: answers, replace(_TWICE, reads_metadata=False)
    ),
    "clicks_2": Recipe(lambda answers, pages, dataset: click_examples(dataset), _TWICE),
    "clicks": Recipe(lambda answers, pages, dataset: click_examples(dataset), _FIRST),
    "both_first": Recipe(_first_both, _FIRST),
}
