import json
from pathlib import Path

import pytest
from pydantic import SecretStr
from pydantic_settings import BaseSettings
from typer.testing import CliRunner

from services.cli.__main__ import app
from services.cli.show_settings import KINDS
from shared.settings import ServerSettings

SECRETS = {
    "SKIM_API_KEY": "CANARY-1",
    "SKIM_KEYS": "feed read CANARY-2",
    "SKIM_REDIS_URL": "rediss://user:CANARY-3@db.example:6379/0?password=CANARY-4&x=1",
    "SKIM_GENERATION_URL": "http://:p@CANARY-5@host:1",
    "SKIM_TEACHER_API_KEY": "CANARY-6",
}


def shown(home: Path, *options: str) -> str:
    environment = {"SKIM_HOME": str(home), "COLUMNS": "200", **SECRETS}
    command = ["settings", "show", *options]
    return CliRunner().invoke(app, command, env=environment, catch_exceptions=False).output


@pytest.mark.parametrize("options", [(), ("--json",)], ids=["table", "json"])
def test_no_secret_is_shown(tmp_path: Path, options: tuple[str, ...]) -> None:
    output = shown(tmp_path, *options)

    assert "CANARY-" not in output
    assert "db.example:6379" in output


def test_every_setting_is_shown_as_it_is_in_force(tmp_path: Path) -> None:
    values = json.loads(shown(tmp_path, "--json"))

    assert values["SKIM_HOME"] == str(tmp_path)
    assert values["SKIM_INFERENCE_PORT"] == 8100
    assert values["SKIM_AUTH"] == "keys"
    assert len(values) == sum(len(kind.model_fields) for kind in KINDS)


def test_a_secret_that_is_not_set_is_seen_to_be_empty(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, ["settings", "show", "--json"], env={"SKIM_HOME": str(tmp_path)}
    )

    assert json.loads(result.stdout)["SKIM_API_KEY"] == ""


def test_all_services_settings_are_known_to_the_command() -> None:
    assert set(ServerSettings.__subclasses__()) <= set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_settings_hide_secrets_wherever_they_are_printed(kind: type[BaseSettings]) -> None:
    assert kind.model_config["hide_input_in_errors"]
    for name, field in kind.model_fields.items():
        is_secret = any(word in name for word in ("key", "password", "secret"))
        if is_secret and not name.endswith("_file"):
            assert field.annotation is SecretStr
