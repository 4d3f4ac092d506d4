"""What `skim doctor` looks at: each check says how it is and, where something is wrong, what to do."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path

from pydantic import ValidationError

from services.augmentation.settings import AugmentationSettings
from services.cli.check import Check, State
from services.cli.checks_of_files import bundles, encoder, index, slm
from services.cli.components import check_addresses, suite_components
from services.cli.suite import look_at, run_folder
from services.cli.supervisor import read_record
from services.dashboard.settings import DashboardSettings
from services.generation.settings import GenerationSettings
from services.inference.settings import InferenceSettings
from services.mapping.settings import MappingSettings
from shared.errors import Damaged, NotFound, SkimError
from shared.settings import CommonSettings
from shared.store import RedisStore

_LITTLE_BYTES, _TOO_LITTLE_BYTES = 5_000_000_000, 1_000_000_000
_GPU_SECONDS = 10
_REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^;\s]+)")


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
        except Exception as error:  # noqa: BLE001  (whatever is the matter, the other checks go on)
            yield Check(name, "wrong", f"{type(error).__name__}: {error}")


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
        CommonSettings,
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
