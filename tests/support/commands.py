"""The commands that our documents show: found in their blocks, and compared with what really takes them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = (
    "README.md",
    ".github/CONTRIBUTING.md",
    "deploy/GUIDES.md",
    "deploy/README.md",
    "deploy/THREAT_MODEL.md",
    "deploy/TUTORIAL.md",
    "deploy/models/slm-things/README.md",
    "deploy/models/teacher/README.md",
    "loadtests/README.md",
    "services/README.md",
    "services/WHY.md",
)
_FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
_SHELL = {"sh", "bash", "console", "shell"}
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_CODE = re.compile(r"`([^`]+)`")
_PROGRAMS = r"(?:skim|python -m|pytest|locust|docker compose|poe|deploy/[\w.]+\.sh)"
_ENDS = frozenset({";", "&&", "||", "|", "(", ")", "$", "&"})
_BEFORE_COMMANDS = frozenset({"do", "then", "else", "if", "while", "!"})
_NO_COMMANDS = frozenset({"for", "done", "fi", "["})


@dataclass(frozen=True)
class Block:
    """Shell between fences."""

    document: str
    section: str
    """The heading it stands under."""
    line: int
    script: str
    """What is typed: prompts and answers are left out."""

    @property
    def place(self) -> str:
        """Return where to look."""
        return f"{self.document}:{self.line}"


def blocks_of(document: str) -> list[Block]:
    """Return the blocks of shell of a document, in order."""
    text = (ROOT / document).read_text()
    return list(blocks_in(document, text))


def blocks_in(document: str, text: str) -> Iterator[Block]:
    """Yield the blocks of shell in a text."""
    fences = list(_FENCE.finditer(text))
    spans = [each.span() for each in fences]
    headings = [
        each
        for each in _HEADING.finditer(text)
        if not any(start <= each.start() < end for start, end in spans)
    ]
    for fence in fences:
        if fence["language"] in _SHELL:
            above = [each[1] for each in headings if each.start() < fence.start()]
            line = text.count("\n", 0, fence.start()) + 1
            section = above[-1] if above else ""
            yield Block(document, section, line, _typed(fence["text"]))


def script_of(document: str, section: str) -> str:
    """Return all that is typed under a heading."""
    return "".join(each.script for each in blocks_of(document) if each.section == section)


def commands_in(script: str) -> Iterator[list[str]]:
    """Yield each command of a script as its words; what is sent to another, or stands in $(...), is a command too."""
    pending = ""
    for line in script.splitlines():
        pending = f"{pending}\n{line}" if pending else line
        if pending.endswith("\\"):
            pending = pending[:-1]
            continue
        try:
            words = _words(pending)
        except ValueError:  # a quotation that goes on in the next line
            continue
        pending = ""
        yield from _split(words)
    if pending:
        raise ValueError(f"a command without its end: {pending!r}")


def inline_commands(document: str) -> Iterator[list[str]]:
    """Yield the commands that stand in a document's sentences, `like this`."""
    text = _FENCE.sub("", (ROOT / document).read_text())
    for code in _CODE.findall(text):
        said = " ".join(code.split())
        if re.match(rf"{_PROGRAMS}(?: |$)", said):
            yield from _split(_words(re.sub(r"[\[\]]|\.\.\.", "", said)))


def _typed(text: str) -> str:
    """Return the lines behind a prompt, or all where there is none."""
    prompted = [line[2:] for line in text.splitlines() if line.startswith("$ ")]
    return "".join(f"{line}\n" for line in prompted) if prompted else text


def _words(text: str) -> list[str]:
    lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    return list(lexer)


def _split(words: Sequence[str]) -> Iterator[list[str]]:
    """Yield the commands of a line, without the shell's own words around them."""
    for command in _parted(words):
        while command and command[0] in _BEFORE_COMMANDS:
            del command[0]
        if command and command[0] not in _NO_COMMANDS:
            yield command


def _parted(words: Sequence[str]) -> Iterator[list[str]]:
    command: list[str] = []
    passes = False
    for word in words:
        if word in _ENDS:
            if command:
                yield command
            command = []
        elif word in {">", ">>", "<"}:
            passes = True  # the file is no argument
        elif passes:
            passes = False
        else:
            command.append(word)
    if command:
        yield command
