"""What the suite consists of: every process with its command, port and question "are you ready?"."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlsplit

from services.augmentation.settings import AugmentationSettings
from services.cli.supervisor import Component
from services.dashboard.settings import DashboardSettings
from services.generation.settings import GenerationSettings
from services.inference.settings import InferenceSettings
from services.mapping.settings import HUGE_PAGES, MappingSettings
from shared.clients import ServiceClient
from shared.errors import Conflict, InvalidInput, Unavailable
from shared.settings import CommonSettings, ServerSettings
from shared.store.address import RedisAddress
from shared.store.server import server_command

PROBE_SECONDS = 1.0
_THIS_MACHINE = {"127.0.0.1", "localhost", "::1"}
_STORE_STAGE, _SERVICE_STAGE = 0, 1


def suite_components(common: CommonSettings) -> list[Component]:
    """Return the suite's processes; a part whose URL names another machine runs there, not here.

    Raises:
        InvalidInput: a service's port and the URL its clients use disagree.
    """
    home = {"SKIM_HOME": str(common.home.resolve())}
    if not asks_for_keys(common):
        home["SKIM_AUTH"] = "off"
    huge_pages = {} if HUGE_PAGES.keys() & os.environ.keys() else HUGE_PAGES
    augmentation = AugmentationSettings()
    # Documents become ads by themselves, unless the operator says otherwise.
    ads = {"SKIM_AUGMENTATION_ADS_URL": augmentation.ads_url or common.inference_url}
    parts = [
        _redis(common),
        _service("generation", common.generation_url, GenerationSettings(), home),
        _service("mapping", common.mapping_url, MappingSettings(), {**huge_pages, **home}),
        _service("augmentation", common.augmentation_url, augmentation, {**home, **ads}),
        _service("inference", common.inference_url, InferenceSettings(), home),
        _service("dashboard", common.dashboard_url, DashboardSettings(), home),
        Component(
            "worker",
            [sys.executable, "-m", "celery", "-A", "services.augmentation.tasks", "worker"],
            _SERVICE_STAGE,
            probe=_worker_probe(augmentation.metrics_host, augmentation.metrics_port),
            environment={**home, **ads, "REMAP_SIGTERM": "SIGQUIT"},
            stop_seconds=augmentation.task_seconds / 10 + 30,  # its soft shutdown, then the rest
        ),
        Component("sweeper", _module("augmentation.sweeper"), _SERVICE_STAGE, environment=home),
    ]
    return [part for part in parts if part is not None]


def asks_for_keys(common: CommonSettings) -> bool:
    """Whether the suite's services ask for a key: if the settings say so, or somebody made one."""
    if "auth" in common.model_fields_set:
        return common.auth == "keys"
    return common.key_file.exists() or bool(common.keys.get_secret_value())


def choose(components: Sequence[Component], names: str | None) -> list[Component]:
    """Return the components of a comma-separated list, all without one.

    Raises:
        InvalidInput: a name is not a part of the suite.
    """
    if names is None:
        return list(components)
    wanted = {name.strip() for name in names.split(",")}
    known = {component.name for component in components}
    if unknown := wanted - known:
        raise InvalidInput(
            f"{', '.join(sorted(unknown))}: no such part here; expected of {', '.join(sorted(known))}"
        )
    return [component for component in components if component.name in wanted]


def check_addresses(components: Sequence[Component]) -> None:
    """Check that every component can listen where it wants to.

    Raises:
        Conflict: a port is taken; the message names it and who wants it.
    """
    taken: dict[tuple[str, int], str] = {}
    for component in components:
        if component.address is None:
            continue
        host, port = component.address
        if (other := taken.setdefault(component.address, component.name)) != component.name:
            raise Conflict(f"{component.name}: port {port} is meant for {other} too")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((host, port))
            except OSError as error:
                reason = "in use" if error.errno == errno.EADDRINUSE else error.strerror
                raise Conflict(
                    f"{component.name}: port {port} on {host} is {reason}; free it, or choose "
                    f"another in SKIM_{component.name.upper()}_URL"
                ) from error


def _service(
    name: str, url: str, settings: ServerSettings, environment: Mapping[str, str]
) -> Component | None:
    """Return the process behind a URL, which says the port; None if it is another machine's."""
    parts = urlsplit(url)
    if parts.hostname not in _THIS_MACHINE:
        return None
    port = parts.port or 80
    variable = f"SKIM_{name.upper()}_PORT"
    if "port" in settings.model_fields_set and settings.port != port:
        raise InvalidInput(
            f"{variable} is {settings.port}, but SKIM_{name.upper()}_URL says {url}; "
            "set both to the same port"
        )
    return Component(
        name,
        _module(name),
        _SERVICE_STAGE,
        address=(settings.host, port),
        probe=_service_probe(url),
        environment={**environment, variable: str(port)},
    )


def _redis(common: CommonSettings) -> Component | None:
    if RedisAddress.of(common.redis_url).sentinels:
        return None  # whoever runs sentinels runs the servers they watch
    parts = urlsplit(common.redis_url)
    if parts.hostname not in _THIS_MACHINE:
        return None
    port = parts.port or 6379
    return Component(
        "redis",
        server_command(common.home.resolve() / "redis", port),
        _STORE_STAGE,
        address=(parts.hostname, port),
        probe=_redis_probe(parts.hostname, port),
    )


def _module(name: str) -> list[str]:
    return [sys.executable, "-m", f"services.{name}"]


def _service_probe(url: str) -> Callable[[], str | None]:
    def _probe() -> str | None:
        with ServiceClient(url, timeout_seconds=PROBE_SECONDS, attempts=1) as client:
            return client.why_not_ready()

    return _probe


def _worker_probe(host: str, port: int) -> Callable[[], str | None] | None:
    """Return what asks whether the worker hangs; that it shows no page, or another's is there, is no fault."""
    if not port:
        return None

    def _probe() -> str | None:
        address = host if host in _THIS_MACHINE else "127.0.0.1"
        with ServiceClient(
            f"http://{address}:{port}", timeout_seconds=PROBE_SECONDS, attempts=1
        ) as client:
            return client.why_hung()

    return _probe


def _redis_probe(host: str, port: int) -> Callable[[], str | None]:
    def _probe() -> str | None:
        try:
            with socket.create_connection((host, port), timeout=PROBE_SECONDS) as connection:
                connection.sendall(b"PING\r\n")
                answer = connection.recv(200).decode(errors="replace").strip()
        except OSError as error:
            raise Unavailable(f"redis on port {port}: no answer") from error
        return None if answer == "+PONG" else answer

    return _probe
