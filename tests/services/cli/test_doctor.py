import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.cli import checks, checks_of_files
from services.cli.__main__ import app
from services.cli.check import Check
from services.cli.checks import all_checks
from services.mapping.index_builder import build_index
from shared.dataset import Query
from shared.settings import CommonSettings
from tests.services.cli.test_main import skim
from tests.support.encoders import BagOfWordsEncoder
from tests.support.http_server import serving


def by_name(home: Path) -> dict[str, Check]:
    common = CommonSettings(home=home, redis_url="redis://127.0.0.1:1/0")
    return {check.of: check for check in all_checks(common)}


def test_an_empty_home_is_no_fault_and_says_what_to_run(tmp_path: Path) -> None:
    found = by_name(tmp_path)

    for name in ("redis", "encoder", "slm", "index", "bundles"):
        assert found[name].state == "absent"
    assert "skim models build" in found["encoder"].found
    assert "skim mapping build" in found["index"].found
    assert "skim publish" in found["bundles"].found


def test_models_are_told_with_their_sha256(tiny_encoder: Path, tiny_slm: Path) -> None:
    encoder, slm = checks_of_files.encoder(tiny_encoder), checks_of_files.slm(tiny_slm)

    assert (encoder.state, slm.state) == ("ok", "ok")
    assert len(encoder.found.rpartition("sha256 ")[2]) == 64
    assert json.loads((tiny_slm / "generator.json").read_text())["sha256"] in slm.found


def test_a_damaged_model_is_wrong(tiny_encoder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "models/encoder"
    folder.mkdir(parents=True)
    for file in tiny_encoder.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    with (folder / "encoder.onnx").open("ab") as model:
        model.write(b"!")

    found = by_name(tmp_path)["encoder"]

    assert found.state == "wrong"
    assert found.advice


def test_a_damaged_index_and_a_damaged_bundle_are_wrong(tmp_path: Path) -> None:
    build_index(
        [Query(id="q", text="oboe")], BagOfWordsEncoder(), tmp_path / "mapping", lambda *_: None
    )
    assert by_name(tmp_path)["index"].state == "ok"
    [graph] = (tmp_path / "mapping").glob("index-*")
    graph.write_bytes(graph.read_bytes() + b"!")
    (tmp_path / "bundles/v1").mkdir(parents=True)
    (tmp_path / "bundles/v1/manifest.json").write_text("{}")

    found = by_name(tmp_path)

    assert found["index"].state == "wrong"
    assert found["bundle v1"].state == "wrong"


def test_another_version_than_the_pinned_one_is_named() -> None:
    found = checks.packages(["numpy==0.0.1", "no-such-package==1.0", "rich>=1"])

    assert found.state == "warning"
    assert "(pinned 0.0.1)" in found.found
    assert "1 of 2" in found.found


def test_a_malformed_setting_is_named_as_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKIM_MAPPING_NEIGHBOURS", "many")

    [found] = checks.settings()

    assert found.state == "wrong"
    assert found.found.startswith("SKIM_MAPPING_NEIGHBOURS: ")


def test_a_malformed_setting_of_all_parts_leaves_the_other_checks_going(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SKIM_REQUEST_TIMEOUT_SECONDS", "soon")

    finished = CliRunner().invoke(app, ["doctor"])

    [wrong] = [line for line in finished.stdout.splitlines() if line.startswith("wrong\tsettings")]
    assert finished.exit_code == 1
    assert "SKIM_REQUEST_TIMEOUT_SECONDS" in wrong
    assert "\tbundles\t" in finished.stdout


def test_a_card_that_is_no_json_is_wrong_and_stops_no_other_check(tmp_path: Path) -> None:
    (tmp_path / "models/slm").mkdir(parents=True)
    (tmp_path / "models/slm/generator.json").write_text("{")

    found = by_name(tmp_path)

    assert (found["slm"].state, found["bundles"].state) == ("wrong", "absent")


def test_little_memory_is_a_warning(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:       8000000 kB\nMemAvailable:    900000 kB\n")

    assert checks.memory(meminfo).state == "warning"
    assert checks.memory(meminfo).found == "0.9 of 8.0 GB free"


def test_serving_needs_no_gpu_and_a_broken_driver_is_told(tmp_path: Path) -> None:
    broken = tmp_path / "smi"
    broken.write_text("#!/bin/sh\nexit 9\n")
    broken.chmod(0o755)

    assert checks.gpu("no-such-program").state == "ok"
    assert checks.gpu(str(broken)).state == "warning"


class Silent(BaseHTTPRequestHandler):
    pass


@pytest.fixture
def taken_port() -> Iterator[int]:
    with serving(Silent) as server:
        yield int(server.server_address[1])


def test_a_port_that_somebody_else_has_is_wrong_with_its_part(
    taken_port: int, tmp_path: Path
) -> None:
    url = f"http://127.0.0.1:{taken_port}"
    finished = skim("doctor", "--json", SKIM_HOME=str(tmp_path), SKIM_MAPPING_URL=url)

    report = json.loads(finished.stdout)
    [suite] = [check for check in report["checks"] if check["of"] == "suite"]
    assert finished.returncode == 1
    assert report["well"] is False
    assert suite["state"] == "wrong"
    assert f"mapping: port {taken_port}" in suite["found"]
    assert "SKIM_MAPPING_URL" in suite["found"]


def test_the_command_prints_a_line_a_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKIM_HOME", str(tmp_path))

    lines = CliRunner().invoke(app, ["doctor"]).stdout.splitlines()

    assert [line.split("\t")[1] for line in lines[:3]] == ["of", "python", "packages"]
