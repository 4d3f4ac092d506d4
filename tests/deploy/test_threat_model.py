import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
TEXT = (REPOSITORY / "deploy/THREAT_MODEL.md").read_text()


def test_every_proof_that_is_named_is_there() -> None:
    named = re.findall(r"`((?:tests|shared|services|deploy)/[\w./-]+)`", TEXT)
    alone = re.findall(r"`(test_\w+\.py)`", TEXT)

    assert len(named) >= 10
    assert [path for path in named if not (REPOSITORY / path).exists()] == []
    assert [name for name in alone if not list((REPOSITORY / "tests").rglob(name))] == []


def test_it_is_a_page() -> None:
    assert len(TEXT.splitlines()) <= 60
