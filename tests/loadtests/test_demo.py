from loadtests.demo import rows_of


def row(recall: float, gain: float) -> dict[str, float]:
    values = {"recall_at_10": recall, "recall_at_100": recall}
    return values | {f"gain_recall_at_100{bound}": gain for bound in ("", "_low", "_high")}


def test_a_row_a_split_tower_and_arm_with_the_gain_of_labels() -> None:
    arms = {
        "clicks": row(0.2, 0.0),
        "skim": row(0.3, 0.1),
        "skim_and_unmapped": row(0.4, 0.2),
    }
    section = arms | {"zero_shot_title": row(0.1, -0.1), "zero_shot_metadata": row(0.15, -0.05)}
    split = {"title_only": section, "full": section}

    rows = rows_of({"new_wordings": split, "new_intents": split, "documents": 3})

    assert len(rows) == 16
    assert [each["recall@100"] for each in rows[:4]] == [10.0, 20.0, 30.0, 40.0]
    assert [each["trained on"] for each in rows[4:7]] == ["nothing", "clicks", "clicks + labels"]
    assert rows[4]["recall@10"] == 15.0
    assert [each["gain of recall@100 over clicks"] for each in rows[:4]] == [
        None,
        None,
        "+10.0 [+10.0, +10.0]",
        "+20.0 [+20.0, +20.0]",
    ]
