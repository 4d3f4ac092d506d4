"""Which test types which part of which document: whole sections, as they stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.support.commands import script_of

Section = tuple[str, str]
TUTORIAL, GUIDES = "deploy/TUTORIAL.md", "deploy/GUIDES.md"

SCENES: Mapping[str, Sequence[Section]] = {
    "tutorial": (
        (TUTORIAL, "1. Two tables"),
        (TUTORIAL, "2. Documents become labels"),
        (TUTORIAL, "3. Which labels to trust"),
        (TUTORIAL, "4. Train, publish, ask"),
    ),
    "in short": (("README.md", "Your own log"),),
    "guides": (
        (GUIDES, "Behind your own search"),
        ("deploy/README.md", "The log of users"),
        (GUIDES, "Upgrade a bundle and roll back"),
        (GUIDES, "When recall drops"),
        (GUIDES, "Fewer or more labels"),
        (GUIDES, "Read the knowledge-gap report"),
    ),
    "keys": (("deploy/README.md", "Keys"), (GUIDES, "Rotate keys")),
}


def script(scene: str) -> str:
    """Return all that is typed in a scene."""
    return "".join(script_of(document, section) for document, section in SCENES[scene])
