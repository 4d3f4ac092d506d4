import re
import tomllib
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
DOCKERFILE = (REPOSITORY / "deploy/Dockerfile").read_text()
RUNTIME = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
EXTRAS: dict[str, list[str]] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())[
    "project"
]["optional-dependencies"]
SERVICES = yaml.safe_load((REPOSITORY / "compose.yaml").read_text())["services"]
BUILT = {
    service["build"]["args"]["SERVICE"] for service in SERVICES.values() if "build" in service
}


def packages_of(extra: str) -> set[str]:
    """Return the names an extra asks for, those of the extras it names included."""
    names: set[str] = set()
    for requirement in EXTRAS[extra]:
        if own := re.match(r"skim\[(.+)\]", requirement):
            names |= set.union(*(packages_of(each) for each in own[1].split(",")))
        else:
            names.add(re.split(r"[\[=; ]", requirement)[0])
    return names


def test_every_image_installs_an_extra_that_exists() -> None:
    assert set(EXTRAS) >= BUILT


@pytest.mark.parametrize("extra", sorted(BUILT - {"all"}))
def test_a_serving_image_holds_no_training_library(extra: str) -> None:
    assert not packages_of(extra) & {"torch", "transformers", "peft", "onnxruntime-genai-cuda"}


def test_the_image_of_the_command_can_train() -> None:
    assert {"torch", "hnswlib", "celery"} <= packages_of("all")


def test_the_base_is_pinned_and_the_same_in_both_stages() -> None:
    assert re.search(r"^ARG PYTHON_IMAGE=python:3\.11\.\d+-slim$", DOCKERFILE, re.MULTILINE)
    assert re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) == ["${PYTHON_IMAGE}"] * 2


def test_the_image_runs_as_nobody_special_and_without_a_compiler() -> None:
    assert re.search(r"^USER 10001:10001$", RUNTIME, re.MULTILINE)
    assert "g++" not in RUNTIME


def test_the_image_holds_no_file_that_its_user_could_change() -> None:
    owned = re.findall(r"--owner=skim .*?(/\w+)", RUNTIME)

    assert owned == ["/data", "/keys"]
    assert "chown" not in RUNTIME
    assert "--chmod" not in RUNTIME
    assert "PYTHONDONTWRITEBYTECODE=1" in RUNTIME


def test_the_image_says_whether_it_is_alive() -> None:
    assert "HEALTHCHECK" in RUNTIME
    assert "/livez" in RUNTIME


def test_versions_come_from_the_lock_and_no_code_is_tuned_to_the_builder() -> None:
    assert "--constraint deploy/constraints.txt" in DOCKERFILE
    assert "HNSWLIB_NO_NATIVE=1" in DOCKERFILE
    assert 'CXXFLAGS="-march=$X86"' in DOCKERFILE


def test_what_is_copied_is_in_the_build_context() -> None:
    copied = [
        name
        for names in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
        for name in names.split()
    ]
    ignore = (REPOSITORY / ".dockerignore").read_text().split("\n")

    assert {f"!{name}" for name in copied} == {line for line in ignore if line.startswith("!")}
