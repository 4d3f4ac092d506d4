"""Every command of the documents runs in a test or has a reason why not, and is one that the programs would take."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.scenes import SCENES
from tests.support.commands import (
    DOCUMENTS,
    ROOT,
    Block,
    blocks_in,
    blocks_of,
    commands_in,
    inline_commands,
    script_of,
)
from tests.support.real_commands import fault_of

RUN = {section for sections in SCENES.values() for section in sections} | {
    ("deploy/README.md", "Move, back up, restore")  # tests/flow/test_backup.py
}
SETS_UP = (
    "installs from the network and builds models: CI and deploy/nightly.sh run it in a clean clone"
)
NO_ENGINE = (
    "no container engine on the machines that test this; compose.yaml is checked by tests/deploy"
)
HOURS = "takes hours; deploy/models/slm-things/training.json is what it wrote"
PEERS = "installs and compiles other projects, or compares with them: by hand, its figures are in results/"
ENDPOINT = (
    "asks somebody's large model, for money: tests/services/training/distillation asks a stand-in"
)
NOT_RUN = {
    "deploy/demo.sh": SETS_UP,
    "deploy/test.sh": "it is what runs this test",
    "deploy/setup.sh": SETS_UP,
    ".venv/bin/skim data things .skim/data/things": "tests/services/training/test_things.py makes it (slow)",
    ".venv/bin/skim distill tune .skim/data/things --target deploy/models/slm-things --teacher both"
    " --answers deploy/models/teacher/things.jsonl.xz --pages deploy/models/teacher/pages.jsonl --rank 32 --alpha 64"
    " --dropout 0 --learning-rate 1e-3 --batch-size 32 --epochs 2 --patience 2": HOURS,
    ".venv/bin/skim models build --fresh": SETS_UP,
    "curl http://127.0.0.1:8100/v1/ads?query=firearm&k=3": "shows the demo's bundle, which deploy/demo.sh asks itself",
    "python -m tests.chaos --json --save": "20 minutes; `pytest -m chaos` runs the same rows in deploy/nightly.sh",
    "pytest -m chaos": "deploy/nightly.sh runs it",
    "python -m loadtests.peers.install": PEERS,
    "python -m loadtests.generation --json --save": PEERS,
    "python -m loadtests.peers.install --only bm25,pecos,omikuji,sentence_transformers": PEERS,
    "python -m loadtests.retrieval --data .skim/data/things-2500 --json --save": PEERS,
    "export SKIM_TEACHER_BASE_URL=https://llm.example/v1 SKIM_TEACHER_API_KEY=... SKIM_TEACHER_MODEL=large-model": ENDPOINT,
    "skim distill ask my-data --output answers.jsonl --limit 500 --max-calls 600": ENDPOINT,
    "skim distill tune my-data --target adapter --answers answers.jsonl": HOURS,
    "skim distill evaluate my-data --answers answers.jsonl": HOURS,
    "skim distill export adapter --target $SKIM_HOME/models/slm": HOURS,
    "SKIM_AUTH=keys SKIM_GENERATION_HOST=0.0.0.0 skim up --only generation": "listens to other machines",
    "docker compose up --build --detach": NO_ENGINE,
}
SHOWN = {
    document: [
        (block, words) for block in blocks_of(document) for words in commands_in(block.script)
    ]
    for document in DOCUMENTS
}


def unaccounted(block: Block) -> list[str]:
    """Return the commands of a block that no scene types and no reason excuses."""
    if (block.document, block.section) in RUN:
        return []
    said = (" ".join(words) for words in commands_in(block.script))
    return [command for command in said if command not in NOT_RUN]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_runs_in_a_test_or_has_a_reason_why_not(document: str) -> None:
    blocks = {block: unaccounted(block) for block in blocks_of(document)}

    assert {block.place: found for block, found in blocks.items() if found} == {}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_is_one_that_the_programs_take(document: str) -> None:
    faults = {
        f"{block.place}: {' '.join(words)}": fault_of(words) for block, words in SHOWN[document]
    }

    assert {command: fault for command, fault in faults.items() if fault} == {}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_and_options_named_in_sentences_exist(document: str) -> None:
    faults = {
        " ".join(words): fault_of(words, is_whole=False) for words in inline_commands(document)
    }

    assert {command: fault for command, fault in faults.items() if fault} == {}


def test_no_reason_is_left_behind_and_every_scene_has_its_sections() -> None:
    said = {" ".join(words) for shown in SHOWN.values() for _, words in shown}

    assert set(NOT_RUN) - said == set()
    assert all(script_of(document, section) for document, section in RUN)


def test_no_document_is_forgotten() -> None:
    there = {str(each.relative_to(ROOT)) for each in _documents()}

    assert there - set(DOCUMENTS) == {".github/CHANGELOG.md", "deploy/REFERENCE.md"}


def test_a_new_command_is_noticed() -> None:
    text = "# Own\n```sh\nskim up; skim fly --high   # a new one\n```\n"
    [block] = blocks_in("README.md", text)

    assert unaccounted(block) == ["skim up", "skim fly --high"]


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        ("skim fly", "no command fly"),
        ("skim train my-data --fast", "--fast"),
        ("skim train", "folder"),
        ("skim train a b", "unexpected extra argument"),
        ("skim distill ask d --flavour sour", "sour"),
        ("SKIM_NO_SUCH=1 skim up", "no setting SKIM_NO_SUCH"),
        ("python -m loadtests.nothing", "no module"),
        ("python -m loadtests.access --fast", "knows no --fast"),
        ("pytest -m fast", "no marker fast"),
        ("pytest tests/nowhere", "no file"),
        ("poe dance", "no task dance"),
        ("locust -f loadtests/locustfile.py --fast", "--fast"),
        ("docker compose --profile all up", "no profile all"),
        ("docker compose run --rm tools skim fly", "no command fly"),
        ("deploy/fly.sh", "no file"),
        ("curl http://127.0.0.1:8100/v1/wishes", "nothing at 8100"),
        ("fly away", "nobody knows fly"),
    ],
)
def test_what_a_program_would_refuse_is_noticed(command: str, fault: str) -> None:
    [words] = commands_in(command)

    assert fault.lower() in fault_of(words).lower()


def test_scripts_become_commands() -> None:
    script = "a 'b\nc' \\\n  d  # e\nf | g > h; i $(j k)\n"

    assert list(commands_in(script)) == [["a", "b\nc", "d"], ["f"], ["g"], ["i"], ["j", "k"]]


def _documents() -> list[Path]:
    folders = (".github", "deploy", "loadtests", "services", "shared", "tests")
    return [
        ROOT / "README.md",
        *(each for name in folders for each in (ROOT / name).rglob("*.md")),
    ]
