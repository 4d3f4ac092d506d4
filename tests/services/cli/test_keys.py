import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from services.cli.__main__ import app
from shared.errors import InvalidInput
from shared.keys import KeyRing, Scope


def skim(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["keys", *arguments], env={"SKIM_HOME": str(home)})


def test_a_key_is_printed_once_and_works(tmp_path: Path) -> None:
    made = skim(tmp_path, "create", "feed", "--scopes", "read, ingest")

    token = made.stdout.strip()
    key = KeyRing(tmp_path / "keys").find(token)
    assert key is not None
    assert key.scopes == {Scope.READ, Scope.INGEST}
    assert token.rpartition("_")[2] not in skim(tmp_path, "list").output


def test_the_list_says_who_may_do_what(tmp_path: Path) -> None:
    skim(tmp_path, "create", "feed", "--scopes", "ingest", "--requests-per-second", "50")
    skim(tmp_path, "create", "shop")

    assert json.loads(skim(tmp_path, "list", "--json").stdout) == [
        {"name": "feed", "scopes": ["ingest"], "requests_per_second": 50.0},
        {"name": "shop", "scopes": ["read"], "requests_per_second": None},
    ]


def test_a_revoked_key_is_gone(tmp_path: Path) -> None:
    token = skim(tmp_path, "create", "feed").stdout.strip()
    skim(tmp_path, "revoke", "feed")

    assert KeyRing(tmp_path / "keys").find(token) is None
    assert json.loads(skim(tmp_path, "list", "--json").stdout) == []


def test_a_scope_that_is_none_is_named(tmp_path: Path) -> None:
    result = skim(tmp_path, "create", "feed", "--scopes", "write")

    assert isinstance(result.exception, InvalidInput)
    assert "read, ingest, admin" in str(result.exception)
    assert not (tmp_path / "keys").exists()


def test_without_keys_the_list_says_how_to_make_one(tmp_path: Path) -> None:
    assert "skim keys create" in skim(tmp_path, "list").stdout


@pytest.mark.parametrize("name", ["../x", "A", "a b"])
def test_a_name_that_cannot_be_makes_no_file(tmp_path: Path, name: str) -> None:
    assert isinstance(skim(tmp_path, "create", name).exception, InvalidInput)
    assert not (tmp_path / "keys").exists()
