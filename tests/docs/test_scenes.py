"""What the documents say, typed as a newcomer types it: with real models, in a suite of its own, on a shop's two tables."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.docs.scenes import script
from tests.support.shop import Person, models, person_in


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    person = person_in(tmp_path_factory.mktemp("documents"))
    yield person
    person.types("skim down")


@pytest.fixture(scope="module")
def answer(newcomer: Person) -> str:
    """What the tutorial prints."""
    if not (models() / "slm").exists():
        pytest.skip(f"{models()}: no models; deploy/setup.sh builds them")
    done = newcomer.types(script("tutorial"))
    assert done.returncode == 0, done.stderr[-2_000:]
    return done.stdout


@pytest.mark.slow
def test_the_tutorial_leads_from_two_tables_to_an_answer(answer: str) -> None:
    answered, _ = json.JSONDecoder().raw_decode(answer, answer.rindex('{"generation":"first"'))

    assert len(answered["ads"]) == 3
    assert all("bed" in ad["title"].lower() for ad in answered["ads"])


@pytest.mark.slow
@pytest.mark.usefixtures("answer")
def test_the_readme_says_it_in_short(newcomer: Person) -> None:
    done = newcomer.at(newcomer.folder.parent / "in-short").types(script("in short"))

    assert done.returncode == 0, done.stderr[-2_000:]
    assert "my-first" in done.stdout


@pytest.mark.slow
@pytest.mark.usefixtures("answer")
def test_the_guides_do_what_they_say(newcomer: Person) -> None:
    done = newcomer.types(f"skim up\n{script('guides')}skim down\n")

    assert done.returncode == 0, done.stderr[-2_000:]
    assert '"accepted":1' in done.stdout
    gaps = json.loads((newcomer.home / "reports/gaps.json").read_text())
    assert gaps


@pytest.mark.slow
def test_keys_are_made_shown_and_taken_back(newcomer: Person) -> None:
    done = newcomer.types(script("keys"))
    (newcomer.home / "keys").unlink()

    assert done.returncode == 0, done.stderr
    left = done.stdout.splitlines()[-3:]
    assert any("shop-2026-12" in line for line in left)
    assert not any("shop-2026-11" in line for line in left)
