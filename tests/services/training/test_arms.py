import pytest

from services.training.arms import ARMS, IN_SHORT, OF_EXPOSURE, arms_named, arms_of_kinds
from shared.errors import InvalidInput


def test_every_arm_has_a_name_of_its_own() -> None:
    names = [arm.name for arm in ARMS]

    assert len(set(names)) == len(names)


def test_the_tables_arms_exist() -> None:
    for names in (IN_SHORT, OF_EXPOSURE):
        assert {arm.name for arm in arms_named(names)} == set(names)


def test_a_gain_is_over_clicks_of_the_same_log() -> None:
    golden, skim = arms_named(["ips_golden", "skim"])[::-1]

    assert (golden.compared_with, skim.compared_with) == ("clicks_stochastic", "clicks")


def test_an_unknown_arm_is_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match="'magic'"):
        arms_named(["clicks", "magic"])


def test_each_kind_of_model_has_the_arms_that_train_one_and_is_compared_with_its_own() -> None:
    arms = arms_of_kinds(
        arms_named(["zero_shot_title", "clicks", "skim_stochastic"]), ["joint", "classifiers"]
    )

    assert [(arm.name, arm.kind, arm.compared_with, arm.rival_of) for arm in arms] == [
        ("zero_shot_title", "classifiers", "clicks", "skim"),
        ("clicks", "classifiers", "clicks", "skim"),
        ("skim_stochastic", "classifiers", "clicks_stochastic", "skim_stochastic"),
        ("clicks_joint", "joint", "clicks_joint", "skim_joint"),
        ("skim_stochastic_joint", "joint", "clicks_stochastic_joint", "skim_stochastic_joint"),
    ]
    with pytest.raises(InvalidInput, match="'tower'"):
        arms_of_kinds(arms, ["tower"])
