"""Hands documents in while things break: each job is posted until it is accepted."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from shared.contracts.document import Document
from shared.errors import SkimError
from tests.chaos.suite import Suite

_DOCUMENTS_PER_JOB = 20
_PAUSE_SECONDS = 0.2


class Poster(threading.Thread):
    """Posts documents in jobs at an even pace, to each of the service's processes in turn.

    Args:
        suite: takes them.
        documents: to post.
        seconds: it should take at least.
    """

    def __init__(self, suite: Suite, documents: Sequence[Document], seconds: float) -> None:
        super().__init__(daemon=True)
        self._suite = suite
        size = _DOCUMENTS_PER_JOB
        self._parts = [documents[at : at + size] for at in range(0, len(documents), size)]
        self._pause = seconds / max(len(self._parts), 1)
        self._is_over = threading.Event()
        self.accepted = 0
        """Documents that were answered for with 202."""

    def run(self) -> None:
        """Post everything, or until told to stop."""
        for number, part in enumerate(self._parts):
            while not self._is_over.is_set() and not self._post(number, part):
                number += 1  # the other process, if there is one
                self._is_over.wait(_PAUSE_SECONDS)
            if self._is_over.wait(self._pause):
                return

    def stop(self) -> None:
        """Post no more."""
        self._is_over.set()
        self.join()

    def _post(self, number: int, part: Sequence[Document]) -> bool:
        try:
            with self._suite.api(number) as client:
                client.post_documents(part)
        except SkimError:  # refused or broken off: not accepted, as far as we know
            return False
        self.accepted += len(part)
        return True
