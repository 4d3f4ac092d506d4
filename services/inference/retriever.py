"""A query in, its top ads out: tokenise, encode, search, name; and why an ad has its score."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import orjson
from numpy.typing import NDArray

from services.inference.exploration import Draw, Slate
from services.inference.filters import Conditions
from services.inference.generation import Generation
from services.inference.view import View
from shared.bundle_facts import Lessons
from shared.contracts.inference import Ad, Explanation, ScoreParts

_TOKENS_OF_A_CALL = 7
"""To call the encoder costs as much as so many tokens in it: 1.4 ms, and .2 ms a token, on two busy cores without VNNI."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """The top ads of a query, best first, and where the time went."""

    ads: Sequence[Mapping[str, object]]
    """`id`, `title`, `score`, `fields` if any were asked for, `propensity` and `slot` of those drawn at random."""
    seconds: Mapping[str, float]
    """Of each stage but the queue."""


@dataclass(frozen=True, slots=True)
class Question:
    """A query and what of its answer is wanted.

    Args:
        view: answers.
        query: what the user typed.
        k: ads, or all if there are fewer.
        conditions: that they must fulfil.
        fields: of the ads, beside id, title and score.
        draw: places that get an ad drawn from all that may be returned: live, put ones too, and matching.
    """

    view: View
    query: str
    k: int
    conditions: Conditions | None = None
    fields: Sequence[str] = ()
    draw: Draw | None = None


def top(
    view: View,
    query: str,
    k: int,
    conditions: Conditions | None = None,
    fields: Sequence[str] = (),
    draw: Draw | None = None,
) -> Ranking:
    """Return the best ads of one query; see `Question`. All of it is from one view."""
    [asked] = vectors_of([Question(view, query, k, conditions, fields, draw)])
    return ranking_of(*asked)


def vectors_of(
    asked: Sequence[Question],
) -> Iterator[tuple[Question, NDArray[np.float32], Mapping[str, float]]]:
    """Encode the queries, those of one encoder together as far as padding costs less than one more call.

    Half the time of a short query alone is the same for two, four or eight of them. A text has the same vector in any company,
    up to the last bits; an encoder of which that is not true gets them one by one.

    Args:
        asked: at least one.

    Yields:
        Each query as it was given, in any order, with its (dimensions,) vector and the seconds that took.
    """
    started = time.perf_counter()
    by_encoder: dict[int, list[tuple[Question, Sequence[int]]]] = defaultdict(list)
    for each in asked:
        encoder = each.view.generation.encoder
        [tokens] = encoder.tokens([each.query])
        by_encoder[id(encoder)].append((each, tokens))
    tokenised = time.perf_counter()
    for tokenised_queries in by_encoder.values():
        encoder = tokenised_queries[0][0].view.generation.encoder
        for group in _calls_of(tokenised_queries, may_batch=encoder.may_batch):
            begun = time.perf_counter()
            vectors = encoder.forward([tokens for _, tokens in group])
            seconds = {"tokenise": tokenised - started, "encode": time.perf_counter() - begun}
            for (each, _), vector in zip(group, vectors, strict=True):
                yield each, vector, seconds


def _calls_of(
    queries: list[tuple[Question, Sequence[int]]], *, may_batch: bool
) -> Iterator[Sequence[tuple[Question, Sequence[int]]]]:
    """Yield the queries of each call of the encoder: by length, the next one too long for those before it begins another."""
    queries.sort(key=lambda each: len(each[1]))
    call: list[tuple[Question, Sequence[int]]] = []
    for each in queries:
        longer = len(each[1]) - len(call[-1][1]) if call else 0
        if call and not (may_batch and longer * len(call) < _TOKENS_OF_A_CALL):
            yield call
            call = []
        call.append(each)
    yield call


def ranking_of(
    asked: Question, vector: NDArray[np.float32], seconds: Mapping[str, float]
) -> Ranking:
    """Return the best ads of a query.

    Args:
        asked: the query.
        vector: (dimensions,) of it.
        seconds: that it took.
    """
    view, generation, draw = asked.view, asked.view.generation, asked.draw
    encoded = time.perf_counter()
    slate = _slate(view, vector, asked.k, asked.conditions, draw)
    searched = time.perf_counter()
    ads = [
        _ad_of(view.row(position), _score_of(generation, product), asked.fields)
        for position, product in slate.ads
    ]
    if draw is not None:
        for place in slate.drawn:
            ads[place] |= draw.mark(str(ads[place]["id"]), place + 1, slate.propensity)
    rest = {"search": searched - encoded, "name": time.perf_counter() - searched}
    return Ranking(ads, {**seconds, **rest})


def _slate(
    view: View,
    vector: NDArray[np.float32],
    k: int,
    conditions: Conditions | None,
    draw: Draw | None,
) -> Slate[tuple[int, float]]:
    """Return the positions of an answer with their inner products, drawn ones among them."""
    reach = k if draw is None else draw.explorer.reach(k)
    scores, positions = view.search(vector, reach, conditions)
    ranked = list(zip(positions.tolist(), scores.tolist(), strict=True))
    if draw is None:
        return Slate(ranked)
    allowed = view.matching(conditions)
    return draw.explorer.fill(
        ranked,
        k,
        draw.places,
        population=len(allowed),
        at=lambda numbers: [
            (position, float(np.dot(vector, view.vector(position))))
            for position in allowed[numbers].tolist()
        ],
        id_of=lambda ad: ad[0],
    )


def explain(view: View, position: int, query: str) -> Explanation:
    """Say why the ad at a position of the view has its score for a query."""
    generation = view.generation
    vector = generation.encoder.encode([query])[0]
    product = float(np.dot(vector, view.vector(position)))
    ad = Ad.model_validate_json(view.row(position))
    trained = generation.trained(ad)
    taught_by = _lessons_of(ad) if trained is None else generation.taught(trained)
    return Explanation(
        id=ad.id,
        query=query,
        generation=generation.name,
        ads_version=view.version,
        score=_score_of(generation, product),
        inner_product=product,
        vector="cold_start" if trained is None else "trained",
        parts=_parts_of(generation, ad, trained, vector, product),
        taught_by=taught_by,
    )


def _parts_of(
    generation: Generation, ad: Ad, trained: int | None, vector: np.ndarray, product: float
) -> ScoreParts | None:
    """Return what an inner product adds up from; a bundle's vector is (1 - weight) start + classifier."""
    weight = 0.0 if trained is None else generation.mixing_weight
    if weight is None:
        return None
    if trained is not None:
        lessons = generation.taught(trained)
        queries = None if lessons is None else lessons.synthetic_queries
        ad = Ad(**generation.document(trained).model_dump(), synthetic_queries=queries)
    parts = generation.start_parts(generation.reads(ad))
    embedding, queries_part = (
        (1 - weight) * float(np.dot(vector, part[0])) for part in (parts.embeddings, parts.queries)
    )
    return ScoreParts(
        document_embedding=embedding,
        synthetic_queries=queries_part,
        classifier=product - embedding - queries_part,
        mixing_weight=weight,
    )


def _lessons_of(ad: Ad) -> Lessons | None:
    """Return what stands in for lessons where no training has seen an ad: its synthetic queries."""
    if not ad.synthetic_queries:
        return None
    return Lessons(
        synthetic_queries=ad.synthetic_queries, totals=(0, 0, len(ad.synthetic_queries))
    )


def _score_of(generation: Generation, product: float) -> float:
    calibration = generation.calibration
    return product if calibration is None else calibration.probability(product)


def _ad_of(row: bytes, score: float, fields: Sequence[str]) -> dict[str, object]:
    ad = orjson.loads(row)
    named: dict[str, object] = {"id": ad["id"], "title": ad["title"], "score": score}
    if fields:
        known = {**(ad.get("metadata") or {}), "text": ad.get("text", "")}
        named["fields"] = {name: known[name] for name in fields if name in known}
    return named
