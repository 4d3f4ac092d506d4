import numpy as np

from services.mapping.calibration import BY_EVIDENCE, probabilities
from services.mapping.evidence import Rows
from services.mapping.fitting import fitted
from services.mapping.outcomes import Outcomes

SIZE = 20_000
LIKE_CLICKED = "clicked_documents"


def world(shown_share: float = 0.2) -> tuple[Rows, Outcomes, np.ndarray]:
    """Return candidates, what a log knows of them, and which are right.

    The last column is higher for right ones, and for whatever was shown.
    """
    random = np.random.default_rng(0)
    evidence = random.normal(size=(SIZE, len(BY_EVIDENCE)))
    right = random.random(SIZE) < 1 / (1 + np.exp(2 - 1.5 * evidence[:, 0]))
    shown = random.random(SIZE) < shown_share
    like_clicked = 1.5 * right + 1.5 * shown + random.normal(size=SIZE)
    rows = np.column_stack([evidence, like_clicked]).astype(np.float32)
    return rows, Outcomes("impressions", shown, right & shown), right


def test_columns_that_are_higher_for_what_was_shown_do_not_make_the_rest_wrong() -> None:
    rows, outcomes, right = world()
    unshown = ~outcomes.is_known

    model, corrected_by = fitted((*BY_EVIDENCE, LIKE_CLICKED), rows, outcomes)

    chances = probabilities(model, rows, corrected_by)
    assert abs(chances.sum() / right.sum() - 1) < 0.05
    known_by_all = fitted(
        (*BY_EVIDENCE, LIKE_CLICKED), rows, Outcomes("judgements", outcomes.is_known, right)
    )
    naive = probabilities(known_by_all[0], rows, 1.0)
    assert naive[unshown].sum() < 0.7 * right[unshown].sum()


def test_which_candidates_are_likelier_is_told_by_all_columns() -> None:
    rows, outcomes, right = world()

    model, _ = fitted((*BY_EVIDENCE, LIKE_CLICKED), rows, outcomes)
    plain, _ = fitted(BY_EVIDENCE, rows[:, : len(BY_EVIDENCE)], outcomes)

    unshown = ~outcomes.is_known
    surest = int(right[unshown].sum())
    ours = np.argsort(-model.scores(rows[unshown]))[:surest]
    theirs = np.argsort(-plain.scores(rows[unshown][:, :-1]))[:surest]
    assert right[unshown][ours].mean() > right[unshown][theirs].mean() + 0.05


def test_judgements_are_taken_as_they_are() -> None:
    rows, outcomes, right = world(shown_share=1.0)

    model, corrected_by = fitted(
        (*BY_EVIDENCE, LIKE_CLICKED), rows, Outcomes("judgements", outcomes.is_known, right)
    )

    assert corrected_by == 1
    assert abs(model.probabilities(rows).sum() / right.sum() - 1) < 0.01


def test_of_clicks_alone_as_many_are_expected_as_the_log_is_known_to_miss() -> None:
    rows, _, right = world()
    clicked = right & (np.random.default_rng(1).random(SIZE) < 0.4)
    outcomes = Outcomes("clicks", np.ones(SIZE, np.bool_), clicked, logged=0.4)

    model, corrected_by = fitted((*BY_EVIDENCE, LIKE_CLICKED), rows, outcomes)

    expected = probabilities(model, rows, corrected_by).sum()
    assert corrected_by == 0.4
    assert abs(expected / right.sum() - 1) < 0.05
