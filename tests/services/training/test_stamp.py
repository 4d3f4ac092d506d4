import re

from services.training.stamp import git_revision, stamp


def test_a_stamp_says_when_where_by_which_command_and_from_which_source() -> None:
    made = stamp("skim gaps folder")

    assert re.fullmatch(r"\d{4}-\d\d-\d\d", made.date)
    assert re.search(r"\d+ cores, \d+ GiB, Python \d", made.machine)
    assert made.command == "skim gaps folder"
    assert made.commit == (git_revision() or "not recorded")
