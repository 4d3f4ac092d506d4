"""The demo's last act: a document is posted, and queries find it, labels and all, without any training."""

from __future__ import annotations

from services.cli.augment import upload_and_follow
from services.cli.console import out, progress_bar
from shared.clients import AugmentationClient, GenerationClient, InferenceClient
from shared.contracts.document import Document
from shared.errors import SkimError
from shared.settings import CommonSettings

NEW = Document(
    id="demo-nyckelharpa",
    title="nyckelharpa",
    text="a stringed instrument played with a bow, whose keys stop the strings",
)
QUERY, _ADS, _LABELS_SHOWN = "stringed instrument with keys", 10, 3


def post_and_find(suite: CommonSettings) -> None:
    """Post the new document, wait for its job, and show where a query finds it and what labels it has.

    Raises:
        SkimError: its job failed, or no query finds it.
    """
    with (
        GenerationClient(suite.generation_url) as generation,
        AugmentationClient(suite.augmentation_url) as augmentation,
        InferenceClient(suite.inference_url) as inference,
    ):
        name = generation.info().generator
        with progress_bar(f"Post {NEW.title!r}, which is in no bundle") as advance:
            job = upload_and_follow(
                augmentation, lambda: [NEW], name, {}, advance, suite.home / "run"
            )
        if job.errors:
            raise SkimError(f"the document failed: {job.errors}")
        answer = inference.ads(QUERY, _ADS)
        place = next((n for n, ad in enumerate(answer.ads, start=1) if ad.id == NEW.id), None)
        if place is None:
            raise SkimError(f"{NEW.title!r} is not among the {_ADS} best ads of {QUERY!r}")
        labels = augmentation.labels(NEW.id).labels
    shown = ", ".join(f"{each.query!r}" for each in labels[:_LABELS_SHOWN]) or "none"
    out.print(
        f"{NEW.title!r} was posted a moment ago and is ad {place} of {QUERY!r}, by its embedding until the next "
        f"training. It has {len(labels)} labels to learn from then: {shown}.",
        highlight=False,
    )
