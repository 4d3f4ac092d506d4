"""A decoder for `loadtests.peers.process`: writes a prompt's last token again and again. Token 13 is its end."""

from __future__ import annotations

import sys

from loadtests.peers.protocol import Job, Transcript, serve


def complete(job: Job, transcript: Transcript) -> None:
    """Echo every prompt, with a word on stdout that must not disturb the answers."""
    sys.stdout.write("working\n")
    for row, prompt in enumerate(job.prompts):
        if prompt[-1] == 13:
            sys.exit("unlucky")
        while transcript.add(row, prompt[-1], job):
            pass


if __name__ == "__main__":
    serve(complete)
