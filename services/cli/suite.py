"""`skim up`, `skim down`, `skim status`: the whole suite on this machine, without Docker."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from services.cli.components import (
    PROBE_SECONDS,
    asks_for_keys,
    check_addresses,
    choose,
    suite_components,
)
from services.cli.console import err, out, print_json, print_table
from services.cli.processes import is_alive, kill, send, wait_until
from services.cli.since_bundle import SinceBundle, since_bundle
from services.cli.supervisor import (
    Component,
    PartRecord,
    SuiteRecord,
    Supervisor,
    log_of,
    read_record,
    stop_leftovers,
)
from shared.clients import AugmentationClient, InferenceClient
from shared.contracts.augmentation import Counts
from shared.errors import Conflict, InvalidInput, SkimError, Unavailable
from shared.settings import CommonSettings
from shared.telemetry import configure_logging

State = Literal["ready", "waiting", "starting", "silent", "restarting", "down"]
_STYLES: dict[State, str] = {
    "ready": "green",
    "waiting": "yellow",
    "starting": "yellow",
    "silent": "red",
    "restarting": "red",
    "down": "dim",
}
_SETTLED_SECONDS = 3.0
_START_SECONDS = 60.0
_DEATHS_THAT_END_UP = 3

JsonOption = Annotated[bool, typer.Option("--json", help="Print one line of JSON.")]


@dataclass(frozen=True)
class Look:
    """One part as it is now. `waiting`: it answers, and says what it lacks; `silent`: no answer."""

    name: str
    state: State
    pid: int | None
    port: int | None
    restarts: int
    reason: str


def up(
    only: Annotated[
        str | None, typer.Option(help="Start these parts only, comma-separated.")
    ] = None,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay attached; Ctrl-C stops the suite.")
    ] = False,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds a start may take.")] = 180.0,
    as_json: JsonOption = False,
) -> None:
    """Start Redis, the services, the worker and the sweeper; return when all answer.

    Parts that answer but lack something (no index, no bundle yet) are listed as waiting.
    """
    common = CommonSettings()
    folder = run_folder(common)
    components = choose(suite_components(common), only)
    _check_has_key(common)
    _report_leftovers(stop_leftovers(folder))
    record = read_record(folder)
    if record is not None:
        _check_has_all(record, components)
        err.print("The suite is up already.")
    else:
        check_addresses(components)
        if foreground:
            _supervise(components, folder, common.log_level)
            return
        _start(components, folder, timeout)
    _show(common, folder, components, as_json=as_json)


def down(as_json: JsonOption = False) -> None:
    """Stop everything `skim up` started, Redis last."""
    folder = run_folder(CommonSettings())
    left = stop_leftovers(folder)
    _report_leftovers(left)
    record = read_record(folder)
    if record is not None:
        with err.status("Stopping the suite"):
            _stop(record, folder)
    stopped = [*left, *(part.name for part in record.parts)] if record else list(left)
    if as_json:
        print_json({"stopped": stopped})
    elif record is not None:
        out.print("The suite is down.")
    elif not left:
        out.print("Nothing runs.")


def status(as_json: JsonOption = False) -> None:
    """Show each part: state, pid, port, restarts, and what the suite has done so far."""
    common = CommonSettings()
    _show(common, run_folder(common), suite_components(common), as_json=as_json)


def run_folder(common: CommonSettings) -> Path:
    """Return the folder of the suite's state file and logs."""
    return common.home.resolve() / "run"


def look_at(components: Sequence[Component], record: SuiteRecord | None) -> list[Look]:
    """Return how each component is, all asked at the same time."""
    parts = {part.name: part for part in record.parts} if record else {}
    with ThreadPoolExecutor(len(components)) as pool:
        return list(
            pool.map(_look_at, components, [parts.get(component.name) for component in components])
        )


def facts_of(
    record: SuiteRecord | None,
    looks: Sequence[Look],
    counts: Counts | None,
    since: SinceBundle | None = None,
) -> dict[str, Any]:
    """Return what `skim status` shows, as JSON values."""
    return {
        "up": record is not None and is_alive(record.supervisor),
        "parts": [asdict(look) for look in looks],
        "counts": counts.model_dump(mode="json") if counts else None,
        "since_bundle": asdict(since) if since else None,
    }


def _look_at(component: Component, part: PartRecord | None) -> Look:
    state, reason = _state_of(component, part)
    process = part.process if part else None
    return Look(
        name=component.name,
        state=state,
        pid=process.pid if process else None,
        port=component.address[1] if component.address else None,
        restarts=part.restarts if part else 0,
        reason=reason,
    )


def _state_of(component: Component, part: PartRecord | None) -> tuple[State, str]:
    if part is None:
        return "down", ""
    if part.process is None or not is_alive(part.process):
        return ("restarting", part.note) if part.restarts else ("starting", part.note)
    age_seconds = time.time() - part.began_at
    if component.probe is None:
        return ("ready" if age_seconds > _SETTLED_SECONDS else "starting"), ""
    try:
        reason = component.probe()
    except Unavailable as error:
        return ("silent" if age_seconds > _START_SECONDS else "starting"), str(error)
    return ("waiting", reason) if reason else ("ready", "")


def _start(components: Sequence[Component], folder: Path, timeout_seconds: float) -> None:
    """Start a supervisor in the background and wait until every part answers; else stop it all."""
    names = ",".join(component.name for component in components)
    command = [sys.executable, "-m", "services.cli", "up", "--foreground", "--only", names]
    log_path = log_of(folder, "supervisor")
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with log_path.open("wb") as log:
        supervisor = subprocess.Popen(  # noqa: S603  (our own command)
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    try:
        _wait_until_up(components, folder, supervisor, timeout_seconds)
    except BaseException:
        supervisor.terminate()
        supervisor.wait()
        raise


def _wait_until_up(
    components: Sequence[Component],
    folder: Path,
    supervisor: subprocess.Popen[bytes],
    timeout_seconds: float,
) -> None:
    deadline = time.monotonic() + timeout_seconds
    told: set[str] = set()
    with err.status("Starting the suite") as progress:
        while True:
            if supervisor.poll() is not None:
                reason = _last_line(log_of(folder, "supervisor"))
                raise SkimError(f"the supervisor ended: {reason}")
            record = read_record(folder)
            _check_none_fails(record, folder)
            looks = look_at(components, record)
            up_now = [look for look in looks if look.state in ("ready", "waiting")]
            for look in up_now:
                if look.name not in told:
                    told.add(look.name)
                    err.print(f"{look.name} is up", highlight=False)
            pending = [component.name for component in components if component.name not in told]
            if not pending:
                return
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"{', '.join(pending)}: no answer after {timeout_seconds:.0f} s; "
                    f"see {log_of(folder, pending[0])}"
                )
            progress.update(f"Starting {', '.join(pending)}")
            time.sleep(0.2)


def _check_none_fails(record: SuiteRecord | None, folder: Path) -> None:
    for part in record.parts if record else []:
        if part.restarts >= _DEATHS_THAT_END_UP:
            log_path = log_of(folder, part.name)
            raise SkimError(
                f"{part.name} keeps failing ({part.note or 'running again'}); "
                f"{log_path} ends with: {_last_line(log_path)}"
            )


def _check_has_key(common: CommonSettings) -> None:
    """Check that worker, sweeper and dashboard can ask the services."""
    if asks_for_keys(common) and not common.authorization:
        raise InvalidInput(
            "services ask for keys, and SKIM_API_KEY is not set, so the worker could ask none: "
            "`skim keys create suite --scopes read,ingest` prints one"
        )


def _check_has_all(record: SuiteRecord, components: Sequence[Component]) -> None:
    running = {part.name for part in record.parts}
    if missing := [each.name for each in components if each.name not in running]:
        raise Conflict(
            f"the suite is up without {', '.join(missing)}; run `skim down` first to change its parts"
        )


def _supervise(components: Sequence[Component], folder: Path, log_level: str) -> None:
    configure_logging(log_level)
    supervisor = Supervisor(components, folder)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: supervisor.stop())
    supervisor.run()


def _stop(record: SuiteRecord, folder: Path) -> None:
    longest_seconds = sum(part.stop_seconds for part in record.parts)
    send(record.supervisor, signal.SIGTERM)
    if not wait_until(lambda: not is_alive(record.supervisor), longest_seconds):
        kill([record.supervisor])
        stop_leftovers(folder)


def _show(
    common: CommonSettings, folder: Path, components: Sequence[Component], *, as_json: bool
) -> None:
    record = read_record(folder)
    if record is not None and not is_alive(record.supervisor):
        err.print("The supervisor died; `skim up` or `skim down` cleans up after it.")
    looks = look_at(components, record)
    counts = _counts_of(common) if record else None
    since = since_bundle(
        common.bundles,
        common.events,
        labels_now=counts.labels if counts else None,
        cold_start_ads=_cold_start_ads(common) if record else None,
    )
    if as_json:
        print_json(facts_of(record, looks, counts, since))
        return
    print_table(_table_of(looks))
    if counts:
        out.print(
            f"{counts.accepted:,} documents accepted: {counts.done:,} done, "
            f"{counts.waiting:,} waiting, {counts.failed:,} failed; {counts.labels:,} labels",
            highlight=False,
        )
        if counts.dead_letters:
            out.print(
                f"{counts.dead_letters:,} dead letters; `skim dead-letters list` says why",
                highlight=False,
            )
    if since:
        out.print(since.line, highlight=False)
    if any(look.name == "dashboard" and look.state == "ready" for look in looks):
        out.print(f"The operators' page: {common.dashboard_url}", highlight=False)


def _table_of(looks: Sequence[Look]) -> Table:
    table = Table("part", "state", "pid", "port", "restarts", box=box.SIMPLE_HEAD)
    table.add_column("", overflow="fold")
    for look in looks:
        table.add_row(
            look.name,
            Text(look.state, style=_STYLES[look.state]),
            str(look.pid or "-"),
            str(look.port or "-"),
            str(look.restarts),
            Text(look.reason),
        )
    return table


def _counts_of(common: CommonSettings) -> Counts | None:
    url = common.augmentation_url
    try:
        with AugmentationClient(url, timeout_seconds=PROBE_SECONDS, attempts=1) as client:
            return client.counts()
    except SkimError:
        return None


def _cold_start_ads(common: CommonSettings) -> int | None:
    url = common.inference_url
    try:
        with InferenceClient(url, timeout_seconds=PROBE_SECONDS, attempts=1) as client:
            return client.info().cold_start_ads
    except SkimError:
        return None


def _report_leftovers(names: Sequence[str]) -> None:
    if names:
        err.print(f"Stopped what a supervisor that died had left: {', '.join(names)}.")


def _last_line(path: Path) -> str:
    lines = path.read_text(errors="replace").split("\n") if path.exists() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "nothing")
