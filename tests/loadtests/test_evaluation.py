from loadtests.evaluation import arms, exposure, mapping_gains

FIGURES = {
    "new_wordings": {
        "title_only": {
            "clicks": {
                **dict.fromkeys(("recall_at_10", "recall_at_25", "recall_at_100"), 0.2),
                "gain_recall_at_100": 0.0,
                "gain_recall_at_100_low": -2.8e-16,  # seen: the same sums in another order
                "gain_recall_at_100_high": 4.5e-16,
            },
            "skim": {
                "recall_at_10": 0.1234,
                "recall_at_25": 0.2,
                "recall_at_100": 0.4,
                "gain_recall_at_100": 0.2,
                "gain_recall_at_100_low": -0.1,
                "gain_recall_at_100_high": 0.3,
            },
        },
        "full": {},
    },
    "exposure": {"20": {"new_wordings": {"title_only": {"skim": {"recall_at_100": 0.5}}}}},
    "facts": {"documents": 3},
    "seconds": 1.0,
}


def test_a_row_for_each_arm_with_its_gain_unless_it_is_its_own_rival() -> None:
    clicks, skim = arms(FIGURES)

    assert clicks["gain over clicks"] is None
    assert skim == {
        "split": "new wordings",
        "documents as": "titles only",
        "arm": "skim",
        "recall@10": 12.3,
        "recall@25": 20.0,
        "recall@100": 40.0,
        "gain over clicks": "+20.0 [-10.0, +30.0]",
    }


def test_a_row_for_each_exposure() -> None:
    assert exposure(FIGURES) == [{"split": "new wordings", "K": "20", "skim": 50.0}]


def test_a_row_for_each_way_of_training_on_two_mappings() -> None:
    gain = {
        f"recall_at_{k}{bound}": value
        for k in (10, 25, 100)
        for bound, value in (("", 0.01), ("_low", -0.002), ("_high", 0.02))
    }
    split = {"title_only": {}, "full": {}, "gains": {"full": {"skim - skim_preset": gain}}}

    assert mapping_gains({"new_intents": split, "facts": {}}) == [
        {
            "split": "new intents",
            "documents as": "titles + metadata",
            "trained on": "clicks + labels",
            **dict.fromkeys(("recall@10", "recall@25", "recall@100"), "+1.0 [-0.2, +2.0]"),
        }
    ]
