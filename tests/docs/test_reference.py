"""deploy/REFERENCE.md is what the code says, and the code says something of everything in it."""

import re

import pytest
from pydantic_settings import BaseSettings

from services.cli.__main__ import app
from services.cli.contents import PANELS, command_of
from services.cli.show_settings import KINDS
from tests.support.reference import PAGE, meanings_of, reference

SAID = PAGE.read_text()


def test_the_reference_is_current() -> None:
    assert reference() == SAID, "stale: python -m tests.support.reference"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_setting_has_a_meaning(kind: type[BaseSettings]) -> None:
    meanings = meanings_of(kind)

    assert set(meanings) == set(kind.model_fields)
    assert [name for name, meaning in meanings.items() if not meaning] == []


def test_every_command_and_option_has_a_meaning() -> None:
    assert re.findall(r"^#### `(.*)`\n\n\n", SAID, re.MULTILINE) == []
    assert re.findall(r"^- `(--[\w-]+)`[^:]*: *$", SAID, re.MULTILINE) == []


def test_no_command_is_left_out() -> None:
    assert {name for names in PANELS.values() for name in names} == set(command_of(app).commands)


def test_every_operation_says_what_it_does() -> None:
    rows = re.findall(r"^\| `((?:GET|POST|PUT|PATCH|DELETE) [^`]*)` \|(.*)$", SAID, re.MULTILINE)

    assert len(rows) >= 40
    for name, row in rows:
        scope, answers, says = (cell.strip() for cell in row.split("|")[:3])
        assert scope in {"read", "ingest", "admin"}, name
        assert re.fullmatch(r"\d{3}( \d{3})*", answers), name
        assert says.endswith("."), name
