"""`skim demo`: the whole chain on real input, in its own folder, on free ports; nothing of it keeps running."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich import box
from rich.table import Table

from services.cli.augment import labels_of, upload_and_follow
from services.cli.calibration import SourceName, calibrate_index, say
from services.cli.console import err, out, print_json, progress_bar
from services.cli.demo_live import post_and_find
from services.cli.generate import card_of, read_synthetic_queries
from services.cli.mapping import build_train_index
from services.cli.models import SHIPPED, build_models
from services.cli.training import publish_bundle, train_on
from shared.clients import AugmentationClient, GenerationClient, InferenceClient
from shared.contracts.synthetic_queries import SyntheticQueries
from shared.dataset import Dataset, Pairs, Query, read_dataset
from shared.encoder import SentenceEncoder
from shared.errors import SkimError
from shared.settings import CommonSettings

COMMITTED = SHIPPED / "synthetic_queries.jsonl.xz"
"""What the shipped SLM wrote for the demo's slice; `synthetic_queries.json` beside it says how."""
SLICE = 2_500
QUERIES_SHOWN, ADS_SHOWN, FEWEST_RELEVANT = 3, 5, 5

Answers = dict[str, list[tuple[str, bool]]]
"""Query -> the title of each ad, and whether it is right."""


def demo(
    live: Annotated[
        int, typer.Option(min=1, help="Documents whose queries the SLM writes now.")
    ] = 300,
    as_json_line: Annotated[
        bool, typer.Option("--json", help="End with one line of JSON: the table.")
    ] = False,
) -> None:
    """Take WordNet's things from documents to top-K ads and show what the labels are worth."""
    from services.cli.chain import Chain, ChainSettings
    from services.training.arms import IN_SHORT, arms_named
    from services.training.report import as_json, as_table  # torch is imported only when needed

    started = time.monotonic()
    common = CommonSettings()
    build_models(common.models, SHIPPED)
    home = _fresh_home(common)
    _step(
        "1/7  The catalogue: documents, queries, complete truth, and the clicks a biased log would show"
    )
    folder = _catalogue(common, home)
    dataset = read_dataset(folder)
    with _suite(home) as suite:
        _step("2/7  Augmentation: the SLM writes queries, HNSW maps them, Redis keeps the labels")
        rows, labels = _augment(suite, dataset, live)
        _step(
            "3/7  Training and evaluation on the complete truth of held-out queries, two ways to part them"
        )
        chain = Chain(suite, folder, ChainSettings(), rows=rows, labels=labels)
        results = [chain.evaluate(split, arms_named(IN_SHORT)) for split in chain.splits]
        _step(
            "4/7  Two bundles: trained on clicks only, and on clicks + labels + synthetic queries"
        )
        before, after = _bundle(suite, dataset, {}, []), _bundle(suite, dataset, labels, rows)
        _step("5/7  Answers over HTTP, before and after")
        shown = _queries_to_show(dataset)
        answers = [_ask(suite, dataset, bundle, shown) for bundle in (before, after)]
        _step("6/7  A new document: posted, and found by the next query")
        post_and_find(suite)
    _step("7/7  What came out")
    for result in results:
        out.print(as_table(result))
    _show_answers(shown, *answers)
    committed = len(dataset.documents) - live
    out.print(
        f"{live:,} documents went live through HTTP, Celery and the SLM; for the other {committed:,} the "
        f"SLM's output was read from {COMMITTED.relative_to(SHIPPED.parents[2])}. All labels were "
        "mapped by the service and kept in Redis.",
        highlight=False,
    )
    seconds = round(time.monotonic() - started, 1)
    out.print(
        f"Done in {seconds:.0f} s. Next: `skim up` runs the suite for your own data (README.md), "
        "services/README.md explains the parts, `skim --help` lists the commands.",
        highlight=False,
    )
    if as_json_line:
        facts: dict[str, Any] = {
            "documents": len(dataset.documents),
            "live_documents": live,
            "committed_documents": committed,
            "seconds": seconds,
        }
        print_json(facts | as_json(results))


def _fresh_home(common: CommonSettings) -> Path:
    """Return the demo's own home, emptied of an earlier run but for the catalogue."""
    home = common.home.resolve() / "demo"
    if (home / "run").exists():
        _run_suite_command("down", {"SKIM_HOME": str(home)})
    for name in ("run", "redis", "mapping", "bundles", "ads", "evaluate"):
        shutil.rmtree(home / name, ignore_errors=True)
    home.mkdir(parents=True, exist_ok=True)
    models = home / "models"
    models.unlink(missing_ok=True)
    models.symlink_to(common.models.resolve())
    return home


def _catalogue(common: CommonSettings, home: Path) -> Path:
    from services.training.things import build_things
    from services.training.wordnet_source import find_wordnet

    folder = home / "things"
    card = folder / "dataset.json"
    encoder = SentenceEncoder(common.models / "encoder", threads=0)
    if not (card.exists() and orjson.loads(card.read_bytes())["documents"] == SLICE):
        wordnet = find_wordnet(common.home / "wordnet")
        with progress_bar("Encoding queries and titles") as advance:
            build_things(
                folder, encoder=encoder, wordnet=wordnet, documents=SLICE, progress=advance
            )
    facts = orjson.loads(card.read_bytes())
    err.print(
        f"{facts['documents']:,} documents, {facts['queries']:,} queries, {facts['pairs']:,} relevant pairs, of "
        f"which the log shows {facts['clicks']:,} ({facts['exposure']:.1%}); WordNet {facts['wordnet_version']}",
        highlight=False,
    )
    return folder


@contextmanager
def _suite(home: Path) -> Iterator[CommonSettings]:
    """Run the suite on free ports while the body works; give the settings that reach it."""
    ports = _free_ports(6)
    names = ("generation", "mapping", "augmentation", "inference", "dashboard")
    urls = {
        f"{name}_url": f"http://127.0.0.1:{port}" for name, port in zip(names, ports, strict=False)
    }
    urls["redis_url"] = f"redis://127.0.0.1:{ports[-1]}/0"
    environment = {f"SKIM_{name.upper()}": value for name, value in urls.items()}
    environment["SKIM_HOME"] = str(home)
    environment["SKIM_AUTH"] = "off"  # a suite of its own, for minutes, on loopback addresses
    settings = CommonSettings(home=home, **urls)  # type: ignore[arg-type]
    dataset = read_dataset(home / "things")
    with progress_bar("Indexing train queries") as advance:
        encoder = SentenceEncoder(settings.models / "encoder")
        build_train_index(settings, dataset.queries_of("train"), encoder, advance)
    known = {document.id for document in dataset.documents}
    written = [row for each, row in _committed_queries(settings).items() if each in known]
    if written:
        say(calibrate_index(settings, dataset, written, source=SourceName.IMPRESSIONS))
    try:
        _run_suite_command("up", environment)
        yield settings
    finally:
        _run_suite_command("down", environment)


def _augment(
    suite: CommonSettings, dataset: Dataset, live: int
) -> tuple[list[SyntheticQueries], Pairs]:
    """Post all documents; return all synthetic queries and the labels as Redis has them."""
    committed = _committed_queries(suite)
    ordered = sorted(dataset.documents, key=lambda document: document.id in committed)
    now = {document.id for document in ordered[:live]}
    before = {each: row for each, row in committed.items() if each not in now}
    with (
        GenerationClient(suite.generation_url) as generation,
        AugmentationClient(suite.augmentation_url) as client,
    ):
        name = generation.info().generator
        for title, documents in (
            (f"Live: generate, map and store {live:,} documents", ordered[:live]),
            (f"Map and store {len(ordered) - live:,} documents", ordered[live:]),
        ):
            if not documents:
                continue
            with progress_bar(title) as advance:
                job = upload_and_follow(
                    client, partial(iter, documents), name, before, advance, suite.home / "run"
                )
            if job.failed or job.refused:
                first = next(iter([*job.errors.items(), *job.refusals]))
                raise SkimError(f"{job.failed + job.refused} documents failed, the first: {first}")
        return list(client.export_synthetic_queries()), labels_of(client)


def _committed_queries(suite: CommonSettings) -> dict[str, SyntheticQueries]:
    """Return the committed output if the SLM that serves is the one that wrote it, else nothing."""
    card = orjson.loads((suite.models / "slm" / "generator.json").read_bytes())
    wrote = orjson.loads(card_of(COMMITTED).read_bytes())
    if card["adapter"] != wrote["adapter"]:
        err.print("The committed queries are another adapter's: the SLM writes all of them now.")
        return {}
    return {row.document_id: row for row in read_synthetic_queries(COMMITTED)}


def _bundle(
    suite: CommonSettings, dataset: Dataset, labels: Pairs, written: Sequence[SyntheticQueries]
) -> str:
    from services.training.embeddings import CachedEncoder
    from services.training.publish import bundle_model
    from services.training.serving_facts import serving_facts
    from services.training.train import TrainSettings
    from services.training.validation import validation_metrics

    folder = suite.models / "encoder"
    encoder = CachedEncoder(SentenceEncoder(folder, threads=0))
    version = "skim" if written else "clicks"
    with progress_bar(f"Training the bundle {version!r}") as advance:
        model = train_on(dataset, labels, written, encoder, TrainSettings(), advance).model
    facts = serving_facts(model.vectors, dataset, labels, written, encoder)
    return bundle_model(
        model,
        dataset.documents,
        folder,
        suite.bundles,
        facts=facts,
        metrics=validation_metrics(model.vectors, dataset, encoder),
        version=version,
    ).name


def _queries_to_show(dataset: Dataset) -> list[Query]:
    """Return test queries drawn by a fixed seed, of those with several relevant documents."""
    broad = [
        query
        for query in dataset.queries_of("test")
        if len(dataset.truth.get(query.id, {})) >= FEWEST_RELEVANT
    ]
    return random.Random(0).sample(broad, QUERIES_SHOWN)


def _ask(
    suite: CommonSettings, dataset: Dataset, bundle: str, queries: Sequence[Query]
) -> Answers:
    publish_bundle(suite, bundle)
    with InferenceClient(suite.inference_url) as client:
        return {
            query.text: [
                (ad.title, ad.id in dataset.truth[query.id])
                for ad in client.ads(query.text, ADS_SHOWN).ads
            ]
            for query in queries
        }


def _show_answers(queries: Sequence[Query], before: Answers, after: Answers) -> None:
    for query in queries:
        table = Table(
            "", "clicks only", "+ labels and queries", box=box.SIMPLE_HEAD, title=f'"{query.text}"'
        )
        for place, (left, right) in enumerate(
            zip(before[query.text], after[query.text], strict=True), start=1
        ):
            table.add_row(str(place), _marked(left), _marked(right))
        out.print(table)
    out.print("Test queries drawn at random; [green]+[/green] is right, by the complete truth.")


def _marked(answer: tuple[str, bool]) -> str:
    title, is_right = answer
    return f"[green]+ {title}[/green]" if is_right else f"  {title}"


def _run_suite_command(command: str, environment: dict[str, str]) -> None:
    finished = subprocess.run(  # noqa: S603  (our own command)
        [sys.executable, "-m", "services.cli", command],
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        check=False,
    )
    if finished.returncode:
        raise SkimError(f"`skim {command}` failed; see {environment['SKIM_HOME']}/run/logs")


def _free_ports(count: int) -> list[int]:
    listeners = [socket.socket() for _ in range(count)]
    try:
        for listener in listeners:
            listener.bind(("127.0.0.1", 0))
        return [int(listener.getsockname()[1]) for listener in listeners]
    finally:
        for listener in listeners:
            listener.close()


def _step(title: str) -> None:
    err.print(f"\n[bold]{title}[/bold]", highlight=False)
