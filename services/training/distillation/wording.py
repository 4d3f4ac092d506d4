"""The teacher's answers in the words of the log: a student that writes train queries as they are leads to more labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from services.training.distillation.quality import EncodesTexts
from services.training.distillation.teacher_data import Example
from shared.dataset import Query

_TEXTS_AT_ONCE = 1_024


def in_words_of_the_log(
    examples: Sequence[Example],
    queries: Sequence[Query],
    encoder: EncodesTexts,
    *,
    min_similarity: float,
) -> list[Example]:
    """Return the examples with each answer replaced by the train query nearest to it, where that is near enough.

    Of answers that come to the same train query one stays, where the first was. What no train query is near to stays as it is.

    Args:
        examples: (document, the teacher's queries).
        queries: train queries only, at least one.
        encoder: of answers and train queries.
        min_similarity: a cosine.
    """
    texts = sorted({text for example in examples for text in example.queries})
    vectors = encoder.encode([query.text for query in queries])
    words: dict[str, str] = {}
    for start in range(0, len(texts), _TEXTS_AT_ONCE):
        part = texts[start : start + _TEXTS_AT_ONCE]
        cosines = encoder.encode(part) @ vectors.T
        for text, nearest, cosine in zip(part, cosines.argmax(1), cosines.max(1), strict=True):
            words[text] = (
                queries[int(nearest)].text if cosine >= np.float32(min_similarity) else text
            )
    return [
        Example(example.document, list(dict.fromkeys(words[text] for text in example.queries)))
        for example in examples
    ]
