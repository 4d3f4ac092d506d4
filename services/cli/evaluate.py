"""`skim evaluate`, `skim simulate`: what the labels are worth on any data folder, and a biased log for it."""

from __future__ import annotations

import hashlib
import json
import resource
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli.console import out, print_json, progress_bar
from services.cli.data import data_folder
from services.cli.generate import generate_to, read_synthetic_queries
from services.cli.training import Device
from services.cli.written import WRITTEN, WRITTEN_WITHOUT_METADATA, find_written
from shared.contracts.document import Document
from shared.dataset import read_dataset, read_documents, write_dataset, write_lines
from shared.encoder import SentenceEncoder
from shared.errors import Conflict, InvalidInput, NotFound
from shared.settings import CommonSettings

if TYPE_CHECKING:
    from shared.cold_start import Tower

# What imports torch is imported inside the functions: `skim search` must not wait for it.


class SimulatedKind(StrEnum):
    """Which true pairs are clicked."""

    DETERMINISTIC = "deterministic"
    STOCHASTIC = "stochastic"
    MAR = "mar"


def evaluate_command(
    folder: Annotated[
        Path, typer.Argument(help="Data folder with truth (qrels.tsv), or `things`.")
    ],
    queries: Annotated[
        Path | None,
        typer.Option(help="Synthetic queries that `skim generate` wrote; FOLDER's if absent."),
    ] = None,
    queries_without_metadata: Annotated[
        Path | None,
        typer.Option(help="The same, written from titles alone (`skim generate --titles-only`)."),
    ] = None,
    arms: Annotated[str, typer.Option(help="Only these, by commas; all if absent.")] = "",
    kinds: Annotated[
        str,
        typer.Option(
            help="Models, by commas: classifiers, dual_encoder, joint (the last two: minutes an arm)."
        ),
    ] = "classifiers",
    device: Annotated[Device, typer.Option(help="Where encoders are trained.")] = Device.AUTO,
    towers: Annotated[
        str, typer.Option(help="What is read of a document: title, metadata or both, by a comma.")
    ] = "title,metadata",
    splits: Annotated[str, typer.Option(help="Only these, by commas; all if absent.")] = "",
    exposures: Annotated[
        str, typer.Option(help="K's of the exposure curve, by commas; none with --arms.")
    ] = "20,50,200",
    shown: Annotated[
        int | None, typer.Option(min=1, help="K of simulated logs; the folder's own if absent.")
    ] = None,
    min_similarity: Annotated[
        float | None, typer.Option(min=-1, max=1, help="tau, a cosine; the setting if absent.")
    ] = None,
    peers: Annotated[
        Path | None,
        typer.Option(
            help="What `python -m loadtests.retrieval --json` printed, to go into the JSON."
        ),
    ] = None,
    choose: Annotated[
        bool,
        typer.Option(
            "--choose", help="Choose tau and passes on the exposed slice: five trainings an arm."
        ),
    ] = False,
    regenerate: Annotated[
        bool, typer.Option("--regenerate", help="Let the SLM write the synthetic queries now.")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Train every arm anew, cached or not.")
    ] = False,
    as_json_line: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Compare SKIM with its rivals on the complete truth of test queries, on every split there is.

    What the folder lacks (clicks, labels) is made. Stopped, run it again: trained arms are cached.
    """
    from services.cli.chain import Chain, ChainSettings
    from services.training.arms import ARMS, OF_EXPOSURE, arms_named, arms_of_kinds
    from services.training.report import as_json, as_table
    from services.training.stamp import stamp

    started = time.monotonic()
    chosen = arms_of_kinds(arms_named(arms.split(",")) if arms else list(ARMS), kinds.split(","))
    of_peers = {} if peers is None else _peers(peers)
    settings = ChainSettings(
        towers=_towers(towers),
        min_similarity=min_similarity,
        shown=shown,
        is_fresh=fresh,
        chooses=choose,
        device=device.value if kinds != "classifiers" else None,
    )
    common = CommonSettings()
    if common.metadata_side == "query":
        raise InvalidInput(
            "SKIM_METADATA_SIDE=query: what is compared here are queries with documents that have metadata; "
            "train with `skim train` and compare bundles"
        )
    folder = data_folder(folder)
    written = _regenerated(common, folder, fresh) if regenerate else queries
    rows, without = (
        None if path is None else list(read_synthetic_queries(path))
        for path in (
            written or find_written(folder, WRITTEN),
            queries_without_metadata or find_written(folder, WRITTEN_WITHOUT_METADATA),
        )
    )
    chain = Chain(common, folder, settings, rows=rows, rows_without_metadata=without)
    asked = _splits(splits, chain.splits)
    if foreign := set(of_peers) - set(chain.splits):
        raise InvalidInput(f"{peers}: no split {min(foreign)!r} here; it is of another folder")
    results = [chain.evaluate(split, chosen) for split in asked]
    exposure = {
        str(k): [chain.evaluate_exposure(split, k, arms_named(OF_EXPOSURE)) for split in asked]
        for k in ([] if arms else _numbers(exposures))
    }
    if not as_json_line:
        for result in results:
            out.print(as_table(result))
        return
    measured = {
        "seconds": round(time.monotonic() - started, 1),
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "stamp": stamp(" ".join(["skim", *sys.argv[1:]])).model_dump(),
    }
    figures = as_json(results, exposure) | measured
    for split in of_peers.keys() & set(asked):
        figures[split] |= of_peers[split]
    print_json(figures)


def simulate(
    folder: Annotated[
        Path, typer.Argument(help="Data folder with complete truth (qrels.tsv), or `things`.")
    ],
    target: Annotated[Path, typer.Option(help="Data folder to write; must be new or empty.")],
    shown: Annotated[
        int, typer.Option(min=1, help="K: documents that the logging policy shows a query.")
    ] = 50,
    kind: Annotated[
        SimulatedKind, typer.Option(help="Which true pairs are clicked.")
    ] = SimulatedKind.DETERMINISTIC,
    stochastic: Annotated[
        bool, typer.Option("--stochastic", help="Short for --kind stochastic.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of chance clicks.")] = 0,
) -> None:
    """Copy a data folder with the clicks that a biased log would hold, and their golden propensities."""
    from services.training.embeddings import CachedEncoder
    from services.training.simulation import LoggingPolicy
    from services.training.train import embed_documents, embed_queries

    if target.exists() and not (target.is_dir() and next(target.iterdir(), None) is None):
        raise Conflict(f"{target}: expected a new or an empty folder")
    folder = data_folder(folder)
    dataset = read_dataset(folder)
    chosen = SimulatedKind.STOCHASTIC if stochastic else kind
    encoder = CachedEncoder(SentenceEncoder(CommonSettings().models / "encoder", threads=0))
    with progress_bar("Encoding titles") as advance:
        titles = embed_documents(dataset.documents, encoder, "title", advance)
    policy = LoggingPolicy(dataset, embed_queries(dataset.queries, encoder), titles)
    log = policy.log(shown, chosen.value, seed=seed)
    write_dataset(
        target,
        replace(
            dataset,
            clicks=log.clicks,
            propensities=log.propensities,
            impressions=log.impressions,
        ),
    )
    if (folder / "splits").is_dir():
        shutil.copytree(folder / "splits", target / "splits")
    card = {
        "source": folder.name,
        "kind": chosen.value,
        "shown": shown,
        "seed": seed,
        "logging_encoder": encoder.name,
        "clicks": sum(map(len, log.clicks.values())),
        "exposure": round(log.exposure, 4),
    }
    write_lines(target / "simulation.json", [json.dumps(card, indent=2)])
    print_json({"folder": str(target), **card})


def _regenerated(common: CommonSettings, folder: Path, is_fresh: bool) -> Path:
    """Let the SLM write every document's queries; stopped, it goes on where it was unless fresh."""
    from services.generation.app import load_generator
    from services.generation.settings import GenerationSettings

    documents = list(read_documents(folder / "documents.jsonl"))
    generator = load_generator(common.models / "slm", GenerationSettings())
    path = common.home / "evaluate" / f"{generator.name}-{_digest(documents)}.jsonl"
    if is_fresh:
        path.unlink(missing_ok=True)
    with progress_bar(f"Generating with {generator.name}") as advance:
        generate_to(path, documents, generator, advance)
    return path


def _peers(path: Path) -> Mapping[str, Mapping[str, Any]]:
    """Read split -> `peers` -> peer -> metrics."""
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise NotFound(f"{path}: no such file") from error
    except ValueError as error:
        raise InvalidInput(f"{path}: not JSON ({error})") from error
    if not isinstance(found, dict) or not all(
        isinstance(sections, dict) and set(sections) == {"peers"} for sections in found.values()
    ):
        raise InvalidInput(f"{path}: expected split -> peers -> peer -> metrics")
    return found


def _splits(names: str, known: Sequence[str]) -> Sequence[str]:
    chosen = [name for name in names.split(",") if name]
    if unknown := sorted(set(chosen) - set(known)):
        raise InvalidInput(f"no split {unknown[0]!r} here; there are {', '.join(known)}")
    return [name for name in known if name in chosen] or known


def _towers(names: str) -> Sequence[Tower]:
    chosen = names.split(",")
    known: Sequence[Tower] = ("title", "metadata")
    if not chosen or set(chosen) - set(known):
        raise InvalidInput(f"--towers {names}: expected title, metadata or both, by a comma")
    return [tower for tower in known if tower in chosen]


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",") if part]
    except ValueError as error:
        raise InvalidInput(f"--exposures {text}: expected whole numbers, by commas") from error


def _digest(documents: Sequence[Document]) -> str:
    digest = hashlib.sha256()
    for document in documents:
        digest.update(f"{document.id} {document.content_hash}\n".encode())
    return digest.hexdigest()[:12]
