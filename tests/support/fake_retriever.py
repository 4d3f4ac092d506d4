"""A retriever for `loadtests.peers.retrieval.process`: ranks backwards. Its first document may be its end."""

from __future__ import annotations

import os
import signal
import sys
import time

from loadtests.peers.retrieval.protocol import RetrievalJob, serve


def retrieve(job: RetrievalJob, threads: int) -> list[list[int]]:
    """Return all documents for each query, the last one first."""
    match job.documents[0]:
        case "fails":
            sys.exit("unlucky")
        case "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        case "says nothing":
            os._exit(0)
        case "never ends":
            time.sleep(60)
        case "repeats itself":
            return [[1, 1] for _ in job.test_queries]
        case "invents":
            return [[len(job.documents)] for _ in job.test_queries]
        case "forgets":
            return []
    return [list(reversed(range(len(job.documents)))) for _ in job.test_queries]


if __name__ == "__main__":
    serve(retrieve, __doc__)
