"""An encoder that sentence-transformers fine-tunes on clicks with MultipleNegativesRankingLoss.

`python -m loadtests.peers.retrieval.sentence_transformers FOLDER --model ENCODER`. Its own trainer, one epoch;
no batch holds a text twice.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.base.sampler import BatchSamplers
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

from loadtests.peers.retrieval.protocol import (
    RetrievalJob,
    best_first,
    parser,
    read_job,
    write_answer,
)

EPOCHS = 1
_MAX_TOKENS = 64  # as many as our encoder reads of a document


def retrieve(job: RetrievalJob, source: Path) -> NDArray[np.int64]:
    """Return the documents nearest to each test query, (test queries, ranks)."""
    model = SentenceTransformer(str(source))
    model.max_seq_length = _MAX_TOKENS
    with TemporaryDirectory() as scratch:
        SentenceTransformerTrainer(
            model=model,
            args=_settings(scratch),
            train_dataset=Dataset.from_dict(
                {
                    "query": [job.queries[query] for query, _ in job.clicks],
                    "document": [job.documents[document] for _, document in job.clicks],
                }
            ),
            loss=MultipleNegativesRankingLoss(model),
        ).train()
    documents = model.encode(job.documents, batch_size=64, normalize_embeddings=True)
    queries = model.encode(job.test_queries, batch_size=64, normalize_embeddings=True)
    return best_first(queries @ documents.T)


def _settings(scratch: str) -> SentenceTransformerTrainingArguments:
    return SentenceTransformerTrainingArguments(
        output_dir=scratch,
        num_train_epochs=EPOCHS,
        per_device_train_batch_size=64,
        learning_rate=2e-5,
        warmup_steps=0.1,  # a share of all steps
        batch_sampler=BatchSamplers.NO_DUPLICATES,
        save_strategy="no",
        report_to="none",
        seed=0,
    )


def main() -> None:
    """Do the job in a folder."""
    arguments = parser(__doc__)
    arguments.add_argument("--model", type=Path, required=True)
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)
    write_answer(options.folder, retrieve(read_job(options.folder), options.model))


if __name__ == "__main__":
    main()
