"""Operations on a store, drawn by Hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

from shared.store import Remap
from tests.support.documents import document_of, label_of

VERSIONS = [document_of(id_, text) for id_ in ("d1", "d2") for text in ("old", "new")]
SCORES = (0.6, 0.75, 0.9)
PROBABILITIES = {0.6: None, 0.75: 0.25, 0.9: 1 / 3}
document = st.sampled_from(VERSIONS)
generator = st.sampled_from(["slm-1", "slm-2"])
labels = st.lists(
    st.builds(
        lambda query_id, score: label_of(query_id, score, probability=PROBABILITIES[score]),
        st.sampled_from(["q1", "q2", "q3"]),
        st.sampled_from(SCORES),
    ),
    max_size=4,
)
version = st.integers(min_value=0, max_value=3)
policy = st.sampled_from(["", "p1", "p2"])
queries = st.lists(st.sampled_from(["q1", "q2"]), min_size=1, unique=True)
remap = st.builds(Remap, st.just(()) | queries.map(tuple))
job = st.integers(min_value=0, max_value=3)
some = st.lists(st.sampled_from(["d1", "d2", "d9"]), min_size=1, unique=True)
owner = st.sampled_from(["one", "other"])
operation = st.one_of(
    st.tuples(st.just("accept"), st.lists(document, min_size=1, unique_by=lambda each: each.id)),
    st.tuples(st.just("lease"), job, document, st.sampled_from([0, 60])),
    st.tuples(st.just("finish"), job, document, st.none() | st.text(max_size=3)),
    st.tuples(st.just("take"), job, some, owner, st.sampled_from([0, 60])),
    st.tuples(st.just("renew"), job, some, owner, st.sampled_from([0, 60])),
    st.tuples(st.just("hand_back"), job, some, owner, st.sampled_from([0, 60])),
    st.tuples(st.just("blame"), job, some, owner),
    st.tuples(st.just("claim")),
    st.tuples(st.just("replay"), some | st.just([]), st.integers(min_value=1, max_value=2)),
    st.tuples(st.just("purge"), some),
    st.tuples(st.just("put"), document, generator, st.lists(st.sampled_from("abc"), max_size=2)),
    st.tuples(st.just("write"), document, generator, labels, version, policy),
    st.tuples(st.just("remove"), st.lists(st.sampled_from(["d1", "d2", "d9"]), max_size=2)),
    st.tuples(st.just("remove_labels"), queries, version),
    st.tuples(st.just("remap"), remap),
    st.tuples(st.just("page"), job, st.integers(min_value=1, max_value=3)),
    st.tuples(st.just("follow"), st.booleans(), version, policy, st.none() | remap),
    st.tuples(st.just("behind"), st.integers(min_value=1, max_value=2)),
)
key = st.none() | st.sampled_from(["k1", "k2"])
owner = st.sampled_from(["o1", "o2"])
seconds = st.sampled_from([60, 60, 0])
serving = st.sampled_from(["slm-1", "slm-1", "slm-1", "slm-2"])
number = st.sampled_from([-1, -1, -1, 0, 1])
"""Of a job or an upload; -1 is the last one."""
chunk = st.lists(document, max_size=3)
intake_operation = st.one_of(
    st.tuples(
        st.just("request"),
        st.lists(document, min_size=1, unique_by=lambda each: each.id),
        st.none() | generator,
        key,
        st.sampled_from(["one", "two"]),
    ),
    st.tuples(
        st.just("upload"),
        key,
        owner,
        seconds,
        st.lists(chunk, max_size=2),
        st.sampled_from(["seal", "seal", "release", "drop", "nothing"]),
    ),
    st.tuples(st.just("stage"), number, owner, seconds, chunk, st.booleans()),
    st.tuples(st.just("seal"), number, owner),
    st.tuples(st.just("take_in"), number, st.integers(min_value=1, max_value=2)),
    st.tuples(st.just("drop_expired"), st.integers(min_value=1, max_value=2)),
    st.tuples(st.just("cancel"), number),
    st.tuples(st.just("lease"), number, document, st.sampled_from([0, 60])),
    st.tuples(st.just("finish"), number, document, st.none() | st.text(max_size=3)),
    st.tuples(st.just("note"), serving),
    st.tuples(st.just("label"), document),
    st.tuples(st.just("write"), document, serving, labels, version, policy),
    st.tuples(st.just("remove"), st.lists(st.sampled_from(["d1", "d2"]), min_size=1, max_size=2)),
    st.tuples(st.just("remap"), remap),
)
