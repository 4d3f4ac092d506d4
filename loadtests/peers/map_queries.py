"""Runs in the sentence-transformers environment: encode texts and search exactly, a turn a line of standard input.

Arguments: model folder, file of query texts, `.npy` of the vectors to search, neighbours, threads. Prints a line of JSON
a turn: seconds of encoding and of searching.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path


def main() -> None:
    """Load once, then do a turn for each line."""
    import numpy as np
    import torch
    from sentence_transformers import SentenceTransformer, util

    model_folder, texts_file, vectors_file, neighbours, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    model = SentenceTransformer(model_folder, device="cpu")
    model.max_seq_length = 32
    texts = json.loads(Path(texts_file).read_text())
    corpus = torch.from_numpy(np.load(vectors_file))
    model.encode(texts[:64], normalize_embeddings=True)
    print("ready", flush=True)
    for _ in sys.stdin:
        started = time.perf_counter()
        vectors = model.encode(
            texts, batch_size=64, normalize_embeddings=True, convert_to_tensor=True
        )
        encoded = time.perf_counter()
        util.semantic_search(vectors, corpus, top_k=int(neighbours), score_function=util.dot_score)
        ended = time.perf_counter()
        print(json.dumps({"encode": encoded - started, "search": ended - encoded}), flush=True)


if __name__ == "__main__":
    main()
