import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from services.augmentation.settings import AugmentationSettings
from services.dashboard.settings import DashboardSettings
from services.generation.settings import GenerationSettings
from services.inference.settings import InferenceSettings
from services.mapping.settings import MappingSettings
from shared.settings import CommonSettings, ServerSettings

REPOSITORY = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((REPOSITORY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
SETTINGS: dict[str, ServerSettings] = {
    "generation": GenerationSettings.model_construct(),
    "mapping": MappingSettings.model_construct(),
    "augmentation": AugmentationSettings.model_construct(),
    "inference": InferenceSettings.model_construct(),
    "dashboard": DashboardSettings.model_construct(),
}
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
AUGMENTATION = SETTINGS["augmentation"]
SETTINGS_OF = {**SETTINGS, "worker": AUGMENTATION, "sweeper": AUGMENTATION}


def variables_of(settings: CommonSettings | ServerSettings) -> set[str]:
    prefix = settings.model_config["env_prefix"]
    return {f"{prefix}{field}".upper() for field in type(settings).model_fields}


def test_every_process_of_the_suite_has_a_container() -> None:
    assert set(SERVICES) == {*SETTINGS_OF, "redis", "prometheus", "grafana", "tools"}


@pytest.mark.parametrize("name", SETTINGS_OF)
def test_a_container_runs_a_module_that_exists(name: str) -> None:
    command = OURS[name]["command"]
    module = command[command.index("-A" if "celery" in command else "-m") + 1]

    assert command[:2] == ["python", "-m"]
    assert find_spec(module) is not None
    if "celery" not in command and not module.endswith("sweeper"):
        assert find_spec(f"{module}.__main__") is not None


@pytest.mark.parametrize("name", SETTINGS)
def test_a_service_is_reached_at_its_settings_port_from_this_machine_only(name: str) -> None:
    service, port = SERVICES[name], SETTINGS[name].port

    assert service["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert service["build"]["args"] == {"SERVICE": name, "PORT": port}
    assert service["environment"][f"SKIM_{name.upper()}_HOST"] == "0.0.0.0"  # noqa: S104


def test_every_published_port_is_bound_to_this_machine() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]

    assert all(port.startswith("127.0.0.1:") for port in published)


@pytest.mark.parametrize("name", OURS)
def test_every_variable_is_a_setting(name: str) -> None:
    known = variables_of(CommonSettings.model_construct())
    if name in SETTINGS_OF:
        known |= variables_of(SETTINGS_OF[name])
    given = {key for key in OURS[name]["environment"] if key.startswith("SKIM_")}

    assert given <= known


def test_the_urls_lead_to_the_containers() -> None:
    places = COMPOSE["x-places"]

    for name, settings in SETTINGS.items():
        url = urlsplit(places[f"SKIM_{name.upper()}_URL"])
        assert (url.hostname, url.port) == (name, settings.port)
    assert urlsplit(places["SKIM_REDIS_URL"]).hostname == "redis"


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_can_do_no_more_than_it_must(name: str) -> None:
    service = SERVICES[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert name == "tools" or "memory" in service["deploy"]["resources"]["limits"]


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_is_not_the_machine(name: str) -> None:
    service = SERVICES[name]

    assert not {"privileged", "cap_add", "devices", "pid", "ipc", "network_mode"} & set(service)
    assert service.get("user", "10001:10001") not in ("0", "root", "0:0", "root:root")
    assert not [each for each in service.get("volumes", []) if ".sock" in each]


@pytest.mark.parametrize("name", SETTINGS)
def test_a_service_asks_for_keys_that_only_tools_can_change(name: str) -> None:
    environment = OURS[name]["environment"]

    assert "SKIM_AUTH" not in environment
    assert environment["SKIM_KEYS_FILE"] == "/keys/keys"
    assert "keys:/keys:ro" in OURS[name]["volumes"]
    assert "keys:/keys" in OURS["tools"]["volumes"]


def test_no_key_is_written_down_here() -> None:
    keys = {service["environment"]["SKIM_API_KEY"] for service in OURS.values()}

    assert keys == {"${SKIM_API_KEY:-}"}


def test_what_keeps_a_journal_may_write_to_the_home_and_no_other() -> None:
    writers = {name for name, each in OURS.items() if "home:/data" in each.get("volumes", [])}

    assert {"mapping", "tools"} <= writers
    assert not writers & {"generation", "augmentation", "worker", "sweeper", "dashboard"}


def test_images_of_others_are_pinned() -> None:
    images = [service["image"] for name, service in SERVICES.items() if name not in OURS]

    assert len(images) == 3
    assert all(re.search(r":v?\d+\.\d+\.\d+$", image) for image in images)


def test_redis_keeps_every_change_and_forgets_nothing() -> None:
    command = SERVICES["redis"]["command"]
    options = dict(zip(command[1::2], command[2::2], strict=True))

    assert options["--appendonly"] == "yes"
    assert options["--appendfsync"] == "always"
    assert options["--maxmemory-policy"] == "noeviction"
    assert "redis:/data" in SERVICES["redis"]["volumes"]


def test_every_named_volume_is_declared() -> None:
    volumes = [volume for service in SERVICES.values() for volume in service.get("volumes", [])]
    named = {volume.split(":")[0] for volume in volumes if not volume.startswith(".")}

    assert named == set(COMPOSE["volumes"])


def test_prometheus_asks_every_service_and_the_worker() -> None:
    config = yaml.safe_load((REPOSITORY / "deploy/prometheus/prometheus.yml").read_text())
    targets = {
        job["job_name"]: [target for each in job["static_configs"] for target in each["targets"]]
        for job in config["scrape_configs"]
    }

    services = {name: [f"{name}:{each.port}"] for name, each in SETTINGS.items()}
    worker = AugmentationSettings.model_construct().metrics_port
    assert targets == services | {"worker": [f"worker:{worker}"]}


def test_what_watches_the_suite_is_started_on_demand() -> None:
    for name in ("prometheus", "grafana"):
        assert SERVICES[name]["profiles"] == ["observability"]


def test_grafana_finds_its_dashboards_and_prometheus() -> None:
    provisioning = REPOSITORY / "deploy/grafana/provisioning"
    [source] = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())[
        "datasources"
    ]
    [provider] = yaml.safe_load((provisioning / "dashboards/skim.yml").read_text())["providers"]
    volumes = dict(each.split(":")[:2] for each in SERVICES["grafana"]["volumes"])

    assert source["url"] == "http://prometheus:9090"
    assert volumes["./deploy/grafana/dashboards"] == provider["options"]["path"]
    assert (REPOSITORY / "deploy/grafana/dashboards").is_dir()
