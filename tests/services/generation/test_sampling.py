"""Drawing tokens: against the plain way, by hand, and by the law of large numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.generation.sampling import (
    Candidates,
    Sampling,
    draw_columns,
    likely_tokens,
    log_probabilities,
)


def _draws(rows: int, seed: int = 0) -> list[np.random.Generator]:
    return [np.random.default_rng((seed, row)) for row in range(rows)]


def _plainly(row: np.ndarray, sampling: Sampling, draw: np.random.Generator) -> int:
    """Draw one row's token by sorting everything."""
    if sampling.temperature == 0:
        return int(row.argmax())
    order = np.argsort(-row, kind="stable")[: sampling.top_k or len(row)]
    weights = np.exp((row[order].astype(float) - row.max()) / sampling.temperature)
    shares = weights / weights.sum()
    kept = order[: int((shares.cumsum() - shares < sampling.top_p).sum())]
    cumulative = weights[: len(kept)].cumsum()
    return int(kept[(cumulative <= draw.random() * cumulative[-1]).sum()])


@given(
    st.integers(0, 2**32 - 1),
    st.lists(
        st.builds(
            Sampling,
            temperature=st.sampled_from([0.0, 0.3, 1.0, 3.0]),
            top_k=st.sampled_from([0, 1, 3, 40, 200, 5000]),
            max_new_tokens=st.just(1),
            top_p=st.sampled_from([0.05, 0.5, 0.9, 1.0]),
        ),
        min_size=1,
        max_size=6,
    ),
)
def test_rows_together_draw_what_each_draws_by_sorting_everything(
    seed: int, samplings: list[Sampling]
) -> None:
    logits = np.random.default_rng(seed).normal(0, 3, (len(samplings), 4111)).astype(np.float32)

    columns = draw_columns(logits, samplings, _draws(len(samplings), seed))

    alone = zip(logits, samplings, _draws(len(samplings), seed), strict=True)
    assert columns.tolist() == [_plainly(*row) for row in alone]


def test_ties_at_the_edge_of_the_top_k_fall_to_the_lower_id() -> None:
    logits = np.zeros((1, 1000), dtype=np.float32)

    drawn = {
        int(draw_columns(logits, [Sampling(1.0, 3, 1)], _draws(1, seed))[0]) for seed in range(60)
    }

    assert drawn == {0, 1, 2}


def test_a_nucleus_holds_the_fewest_tokens_that_reach_its_share() -> None:
    logits = np.log(np.array([[0.5, 0.3, 0.15, 0.05]], dtype=np.float32))
    sampling = Sampling(temperature=1.0, top_k=0, max_new_tokens=1, top_p=0.7)

    drawn = {int(draw_columns(logits, [sampling], _draws(1, seed))[0]) for seed in range(200)}

    assert drawn == {0, 1}


def test_draws_follow_the_softmax() -> None:
    logits = np.log(np.array([[0.7, 0.2, 0.1]], dtype=np.float32))
    draws = _draws(1)

    drawn = [int(draw_columns(logits, [Sampling(1.0, 3, 1)], draws)[0]) for _ in range(5000)]

    shares = np.bincount(drawn, minlength=3) / len(drawn)
    assert shares == pytest.approx([0.7, 0.2, 0.1], abs=0.03)


def test_a_greedy_row_uses_no_random_number() -> None:
    (used,), (unused,) = _draws(1), _draws(1)

    draw_columns(np.zeros((1, 50), dtype=np.float32), [Sampling(temperature=0)], [used])

    assert used.random() == unused.random()


def test_log_probabilities_are_those_of_the_softmax() -> None:
    logits = np.log(np.array([[0.7, 0.2, 0.1], [0.25, 0.25, 0.5]], dtype=np.float32)) + 7

    found = log_probabilities(Candidates(logits), np.array([1, 2]))

    assert found == pytest.approx(np.log([0.2, 0.5]), abs=1e-5)


def test_the_likeliest_candidates_draw_and_score_as_the_whole_vocabulary() -> None:
    logits = np.random.default_rng(3).normal(0, 3, (4, 1000)).astype(np.float32)
    tokens = np.argsort(-logits, axis=1)[:, :50]
    totals = np.log(np.exp(logits.astype(np.float64)).sum(axis=1)).astype(np.float32)
    best = Candidates(np.take_along_axis(logits, tokens, axis=1), tokens, totals).of_rows(
        [2, 0, 2]
    )
    whole = Candidates(logits).of_rows([2, 0, 2])
    samplings = [Sampling(0.8, 50, 1, 0.9), Sampling(temperature=0), Sampling(1.0, 40, 1)]

    drawn, expected = (
        draw_columns(candidates.logits, samplings, _draws(3)) for candidates in (best, whole)
    )

    assert best.tokens_at(drawn).tolist() == whole.tokens_at(expected).tolist()
    np.testing.assert_allclose(
        log_probabilities(best, drawn), log_probabilities(whole, expected), atol=1e-5
    )


def test_likely_tokens_are_those_of_the_softmax_and_those_asked_for() -> None:
    logits = np.random.default_rng(0).normal(0, 3, (2, 500)).astype(np.float32)
    chances = np.log(np.exp(logits[1]) / np.exp(logits[1]).sum())
    rare = int(chances.argmin())

    likely = likely_tokens(Candidates(logits), 1, -4.0, np.array([rare]))

    assert set(likely.tokens) == {*np.flatnonzero(chances >= -4.0), rare}
    assert likely.log_probabilities == pytest.approx(chances[likely.tokens], abs=1e-5)


def test_likely_tokens_of_the_best_are_what_they_are_of_all() -> None:
    logits = np.random.default_rng(1).normal(0, 3, (2, 500)).astype(np.float32)
    best = np.argsort(-logits, axis=1)[:, :100]
    totals = np.log(np.exp(logits).sum(axis=1))
    given_best = Candidates(np.take_along_axis(logits, best, axis=1), best, totals)
    ends = np.array([int(best[1, 40]), int(logits[1].argmin())])

    few = likely_tokens(given_best, 1, -3.0, ends)
    many = likely_tokens(Candidates(logits), 1, -3.0, ends[:1])

    scores = dict(zip(few.tokens.tolist(), few.log_probabilities, strict=True))
    assert scores == pytest.approx(
        dict(zip(many.tokens.tolist(), many.log_probabilities, strict=True)), abs=1e-5
    )
