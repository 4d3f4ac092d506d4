from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.inference.catalogue import Catalogue, Entry
from services.inference.columns import Columns
from services.inference.filters import conditions_of, matches
from services.inference.generation import generation_of
from shared.ad_index import Kind, build_index
from shared.contracts.document import Document
from shared.contracts.inference import FILTER, Condition
from tests.support.encoders import BagOfWordsEncoder

VALUES = st.one_of(
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([-1.5, 0.0, 2.0, 2.5]),
    st.sampled_from(["", "a", "b", "ba", "é", "x" * 201]),
    st.lists(st.sampled_from(["a", "b", "c"]), max_size=3),
)
METADATA = st.dictionaries(st.sampled_from("pqr"), VALUES, max_size=3)
ELEMENTS = st.one_of(
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([-1.5, 2.0]),
    st.sampled_from(["", "a", "b"]),
)
BOUNDS = st.one_of(
    st.integers(-3, 3), st.sampled_from([-1.5, 2.25]), st.sampled_from(["", "a", "b"])
)
CONDITIONS = st.fixed_dictionaries(
    {},
    optional={
        "eq": ELEMENTS,
        "in": st.lists(ELEMENTS, min_size=1, max_size=3),
        "gt": BOUNDS,
        "gte": BOUNDS,
        "lt": BOUNDS,
        "lte": BOUNDS,
    },
).filter(bool)
FILTERS = st.dictionaries(st.sampled_from("pqr"), ELEMENTS | CONDITIONS, max_size=2)


@given(st.lists(METADATA, max_size=20), FILTERS)
def test_columns_select_what_a_look_at_every_ad_does(
    rows: list[Mapping[str, object]], wanted: Mapping[str, object]
) -> None:
    conditions = conditions_of(FILTER.validate_json(orjson.dumps(wanted)))

    assert Columns(rows).mask(conditions).tolist() == [matches(conditions, each) for each in rows]


@pytest.mark.parametrize(
    ("condition", "value", "is_so"),
    [
        ({"eq": 1}, 1.0, True),
        ({"eq": 1}, True, False),
        ({"eq": True}, 1, False),
        ({"eq": "1"}, 1, False),
        ({"gte": 1, "lt": 2}, 1.99, True),
        ({"gte": 1, "lt": 2}, 2, False),
        ({"gte": "2026-01", "lt": "2026-02"}, "2026-01-15", True),
        ({"gt": 0}, "1", False),
        ({"gt": 0}, True, False),
        ({"gt": "", "lt": 3}, 1, False),
        ({"in": ["a", 2]}, ["b", "a"], True),
        ({"eq": "a", "in": ["b"]}, ["a", "b"], False),  # no element is both
        ({"gt": 2**53}, 2**53 + 1, False),  # compared as floats
    ],
)
def test_what_a_condition_means(condition: object, value: object, is_so: bool) -> None:
    conditions = conditions_of({"f": Condition.model_validate(condition)})

    assert matches(conditions, {"f": value}) is is_so
    assert Columns([{"f": value}]).mask(conditions).tolist() == [is_so]


@pytest.mark.parametrize("kind", ["flat", "flat_sq8", "hnsw", "hnsw_fp16", "ivf", "ivf_sq8"])
@settings(max_examples=20)
@given(data=st.data())
def test_k_ads_are_given_whenever_k_match_and_they_are_the_best(
    kind: Kind, data: st.DataObject
) -> None:
    random = np.random.default_rng(data.draw(st.integers(0, 1_000)))
    count, own = 1_500, data.draw(st.integers(0, 40))
    encoder = BagOfWordsEncoder(dimensions=16)
    vectors = random.standard_normal((count, 16)).astype(np.float32)
    share = data.draw(st.sampled_from([0.001, 0.01, 0.2, 0.9]))
    fits = random.random(count + own) < share
    rows = [
        Document(id=f"a{n}", title="x", metadata={"fits": bool(fits[n])})
        .model_dump_json()
        .encode()
        for n in range(count + own)
    ]
    recent = random.standard_normal((own, 16)).astype(np.float32)
    generation = generation_of("g", encoder, build_index(vectors, kind, width=64), rows[:count])
    entries = {f"a{count + n}": Entry(1, "", rows[count + n], recent[n]) for n in range(own)}
    deleted = random.choice(count, 50, replace=False)
    entries |= {f"a{n}": Entry(1, "", None) for n in deleted.tolist()}
    view = Catalogue(generation, entries, recent=data.draw(st.sampled_from([10, 1_000]))).view
    query = random.standard_normal(16).astype(np.float32)
    k = data.draw(st.integers(1, 30))

    scores, positions = view.search(query, k, conditions_of({"fits": True}))

    exact = np.concatenate([vectors, recent]) @ query
    allowed = fits.copy()
    allowed[deleted] = False
    there = {orjson.loads(view.row(p))["id"] for p in positions.tolist()}
    assert len(there) == len(positions) == min(k, int(allowed.sum()))
    assert there <= {f"a{n}" for n in np.flatnonzero(allowed)}
    assert (np.diff(scores) <= 0).all()
    best = {f"a{n}" for n in np.flatnonzero(allowed)[np.argsort(-exact[allowed])[:k]]}
    assert len(best & there) >= (len(best) if kind == "flat" else 0.7 * len(best) - 1)
