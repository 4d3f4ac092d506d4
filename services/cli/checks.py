"""What `skim doctor` looks at: each check says how it is and, where something is wrong, what to do."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from services.augmentation.settings import AugmentationSettings
from services.cli.components import check_addresses, suite_components
from services.cli.suite import look_at, run_folder
from services.cli.supervisor import read_record
from services.dashboard.settings import DashboardSettings
from services.generation.settings import GenerationSettings
from services.inference.settings import InferenceSettings
from services.mapping.index_files import read_manifest, verify
from services.mapping.settings import MappingSettings
from shared.bundle import current, open_bundle
from shared.contracts.generator import GENERATOR_CARD, GeneratorCard
from shared.encoder import MODEL, read_card
from shared.errors import Damaged, NotFound, SkimError
from shared.settings import CommonSettings
from shared.store import RedisStore

State = Literal["ok", "absent", "warning", "wrong"]
"""absent: not there yet, which only some need."""
_SLM_FILES = ("model.onnx", "model.onnx.data", "tokenizer.json")
"""In the order in which their sha256 was taken."""
_LITTLE_BYTES, _TOO_LITTLE_BYTES = 5_000_000_000, 1_000_000_000
_GPU_SECONDS = 10
_REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^;\s]+)")


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    of: str
    state: State
    found: str
    advice: str = ""
    """What to do; empty if nothing."""


def all_checks(common: CommonSettings) -> Iterator[Check]:
    """Yield every check, the quick ones first; one that fails in a way nobody foresaw is wrong too."""
    home = common.home
    checks: Sequence[tuple[str, Callable[[], Check | Iterator[Check]]]] = (
        ("python", python),
        ("packages", packages),
        ("settings", settings),
        ("disk", lambda: disk(home)),
        ("memory", memory),
        ("gpu", gpu),
        ("traces", lambda: traces(common.traces_endpoint)),
        ("suite", lambda: suite(common)),
        ("redis", lambda: redis(common.redis_url)),
        ("encoder", lambda: encoder(common.models / "encoder")),
        ("slm", lambda: slm(common.models / "slm")),
        ("index", lambda: index(common.mapping)),
        ("bundles", lambda: bundles(common.bundles)),
    )
    for name, look in checks:
        try:
            found = look()
            yield from [found] if isinstance(found, Check) else found
        except NotFound as error:
            yield Check(name, "absent", str(error))
        except Damaged as error:
            yield Check(
                name, "wrong", str(error), "build or publish it again; nothing repairs it in place"
            )
        except (SkimError, OSError) as error:
            yield Check(name, "wrong", str(error))


def python() -> Check:
    """Say which interpreter runs, on what."""
    found = f"{platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    if sys.version_info < (3, 11):  # noqa: UP036  (a doctor meets what setup would refuse)
        return Check("python", "wrong", found, "SKIM needs Python 3.11 or later: deploy/setup.sh")
    return Check("python", "ok", found)


def packages(required: Sequence[str] | None = None) -> Check:
    """Compare what is installed with our pins; what is not installed belongs to parts that do not run here."""
    if required is None:
        required = metadata.requires("skim") or ()
    matches = (_REQUIREMENT.match(each) for each in required)
    pins = {match[1]: match[2] for match in matches if match}
    installed = {name: version for name in pins if (version := _version(name)) is not None}
    others = [
        f"{name} {version} (pinned {pins[name]})"
        for name, version in installed.items()
        if version.partition("+")[0] != pins[name]
    ]
    found = f"skim {_version('skim')}, {len(installed)} of {len(pins)} pinned packages installed"
    if others:
        return Check(
            "packages",
            "warning",
            f"{found}; other versions: {', '.join(others)}",
            "deploy/setup.sh",
        )
    return Check("packages", "ok", found)


def settings() -> Iterator[Check]:
    """Read every service's settings from the environment."""
    wrong = []
    for kind in (
        GenerationSettings,
        MappingSettings,
        AugmentationSettings,
        InferenceSettings,
        DashboardSettings,
    ):
        try:
            kind()
        except ValidationError as error:
            prefix = kind.model_config.get("env_prefix", "")
            for each in error.errors():
                name = f"{prefix}{'_'.join(map(str, each['loc']))}".upper()
                wrong.append(f"{name}: {each['msg']}")
    if wrong:
        yield Check(
            "settings", "wrong", "; ".join(wrong), "set it right, or unset it for its default"
        )
    else:
        names = sorted(name for name in os.environ if name.startswith("SKIM_"))
        yield Check("settings", "ok", f"set here: {', '.join(names) or 'none'}")


def disk(home: Path) -> Check:
    """Look at room and rights where SKIM writes."""
    place = home.resolve()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    found = f"{free / 1e9:.1f} GB free at {home.resolve()}"
    if not os.access(place, os.W_OK):
        return Check(
            "disk", "warning", f"{found}, not writable", "set SKIM_HOME to a folder of yours"
        )
    if free < _TOO_LITTLE_BYTES:
        return Check("disk", "wrong", found, "make room: Redis refuses writes on a full disk")
    if free < _LITTLE_BYTES:
        return Check("disk", "warning", found, "models and a bundle take about 3 GB")
    return Check("disk", "ok", found)


def memory(source: Path = Path("/proc/meminfo")) -> Check:
    """Look at free memory, where the system tells."""
    if not source.exists():
        return Check("memory", "ok", "unknown on this system")
    kilobytes = dict(re.findall(r"^(\w+):\s+(\d+) kB$", source.read_text(), re.MULTILINE))
    free, total = (int(kilobytes.get(name, 0)) / 1e6 for name in ("MemAvailable", "MemTotal"))
    found = f"{free:.1f} of {total:.1f} GB free"
    if free < 2:
        return Check("memory", "warning", found, "the whole suite takes about 2 GB")
    return Check("memory", "ok", found)


def gpu(program: str = "nvidia-smi") -> Check:
    """Ask the driver which GPUs there are; SKIM serves without one."""
    path = shutil.which(program)
    if path is None:
        return Check("gpu", "ok", "none; training and distillation are slower, serving needs none")
    query = [path, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        asked = subprocess.run(  # noqa: S603  (our own command)
            query, capture_output=True, text=True, timeout=_GPU_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        return Check(
            "gpu", "warning", f"{program} fails: {error}", "see to the driver, or go on without"
        )
    return Check("gpu", "ok", "; ".join(asked.stdout.strip().splitlines()) or "none")


def traces(endpoint: str) -> Check:
    """Look whether traces are sent, and can be."""
    if not endpoint:
        return Check("traces", "ok", "off")
    if _version("opentelemetry-sdk") is None:
        return Check(
            "traces",
            "wrong",
            f"to {endpoint}, without OpenTelemetry",
            "pip install 'skim[telemetry]'",
        )
    return Check("traces", "ok", f"to {endpoint}")


def suite(common: CommonSettings) -> Iterator[Check]:
    """Look at every part that runs, or at the ports they would take."""
    components = suite_components(common)
    record = read_record(run_folder(common))
    if record is None:
        check_addresses(components)  # the error names port, part and what to set
        ports = [str(each.address[1]) for each in components if each.address]
        yield Check("suite", "ok", f"down; ports {', '.join(ports)} are free")
        return
    states: Mapping[str, State] = {"ready": "ok", "waiting": "absent", "down": "absent"}
    for look in look_at(components, record):
        state = states.get(look.state, "wrong")
        where = f" on port {look.port}" if look.port else ""
        advice = f"skim logs {look.name}" if state == "wrong" else ""
        yield Check(look.name, state, f"{look.state}{where} {look.reason}".strip(), advice)


def redis(url: str) -> Check:
    """Ask Redis whether it answers and holds our layout."""
    try:
        RedisStore.at(url, retries=0, timeout_seconds=2.0).check()
    except SkimError as error:
        return Check("redis", "absent", str(error), "skim up starts one")
    return Check("redis", "ok", "answers")


def encoder(folder: Path) -> Check:
    """Compare the sentence encoder with the sha256 in its name."""
    card = read_card(folder)
    sha256 = _sha256_of([folder / MODEL])
    if not sha256.startswith(card.name.rpartition("-")[2]):
        raise Damaged(f"{folder / MODEL}: sha256 {sha256} is not that of {card.name}")
    return Check("encoder", "ok", f"{card.name}, {card.dimensions} dimensions, sha256 {sha256}")


def slm(folder: Path) -> Check:
    """Compare the SLM's files with the sha256 in its card."""
    path = folder / GENERATOR_CARD
    if not path.exists():
        return Check("slm", "absent", f"{folder}: no language model", "skim models build")
    card = GeneratorCard.model_validate_json(path.read_bytes())
    sha256 = _sha256_of([folder / name for name in _SLM_FILES])
    if sha256 != card.sha256:
        raise Damaged(f"{folder}: sha256 {sha256}, its card says {card.sha256}")
    return Check("slm", "ok", f"{card.name}, {card.precision} for {card.device}, sha256 {sha256}")


def index(folder: Path) -> Check:
    """Compare the index of train queries with its manifest."""
    manifest = read_manifest(folder)
    for entry in (manifest.index, manifest.queries):
        verify(folder, entry)
    found = f"{manifest.train_queries:,} train queries by {manifest.encoder}"
    return Check("index", "ok", f"{found}, sha256 {manifest.index.sha256}")


def bundles(folder: Path) -> Iterator[Check]:
    """Open every bundle, which compares each file with its sha256; say which one is served."""
    served = None
    try:
        served = current(folder).name
    except NotFound as error:
        yield Check("bundles", "absent", str(error))
    for path in sorted(folder.glob("*/manifest.json")):
        name = path.parent.name
        try:
            manifest = open_bundle(path.parent).manifest
        except SkimError as error:
            yield Check(f"bundle {name}", "wrong", str(error), "publish another version")
            continue
        is_served = ", served" if name == served else ""
        yield Check(
            f"bundle {name}",
            "ok",
            f"{manifest.counts.ads:,} ads, {len(manifest.files)} files{is_served}",
        )


def worst_of(checks: Sequence[Check]) -> bool:
    """Whether any is wrong."""
    return any(check.state == "wrong" for check in checks)


def as_facts(checks: Sequence[Check]) -> Mapping[str, object]:
    """Return checks as JSON values."""
    rows = [vars(check) for check in checks]
    return {"well": not worst_of(checks), "checks": rows}


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _sha256_of(paths: Sequence[Path]) -> str:
    """Return one sha256 over files one after the other; those that are not there are left out."""
    digest = hashlib.sha256()
    for path in paths:
        if path.exists():
            with path.open("rb") as file:
                while part := file.read(1 << 20):
                    digest.update(part)
    return digest.hexdigest()
