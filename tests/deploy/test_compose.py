"""compose.yaml against Compose's schema, and against the files that it mounts. There is no Docker
daemon here, so nothing is started."""

import copy
import importlib.resources
import json
import re
import subprocess

import jsonschema
import pytest
from tools import DASHBOARD, DEPLOY, load, stages

from harness.paths import ROOT, program

COMPOSE = load(DEPLOY / "compose.yaml")
DRAIN_SECONDS = 30 + 2  # --drain-grace where it is not given, and gRPC's shutdown


def validate(compose: dict) -> None:
    # compose/config of the docker-compose wheel; its Python is not imported.
    schema = json.loads((importlib.resources.files("compose") / "config" / "compose_spec.json").read_text())
    jsonschema.Draft7Validator(schema).validate(compose)


def test_schema():
    validate(COMPOSE)


def test_schema_would_find_a_mistake():
    broken = copy.deepcopy(COMPOSE)
    broken["services"]["denoised"]["stop_grace_periode"] = "40s"
    with pytest.raises(jsonschema.ValidationError):
        validate(broken)


def test_what_is_built_and_mounted_is_there():
    for name, stage in {"denoised": "server", "viewer": "viewer"}.items():
        build = COMPOSE["services"][name]["build"]
        assert (DEPLOY / build["context"] / "Dockerfile").resolve() == ROOT / "Dockerfile"
        assert build["target"] == stage and stage in stages()
    for service in COMPOSE["services"].values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (DEPLOY / source).exists(), source
            else:
                assert source in COMPOSE["volumes"], source


def test_all_ports_are_the_machines_own():
    for name, service in COMPOSE["services"].items():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"]), name


def test_drain_fits():
    assert float(COMPOSE["services"]["denoised"]["stop_grace_period"].rstrip("s")) > DRAIN_SECONDS
    assert "drain_grace_seconds = 30;" in (ROOT / "server" / "flags.h").read_text()


def test_ours_write_nothing_but_to_tmp():
    for name in ("denoised", "viewer"):
        service = COMPOSE["services"][name]
        assert service["read_only"] is True and service["cap_drop"] == ["ALL"]
    (tmp,) = COMPOSE["services"]["denoised"]["tmpfs"]
    assert tmp.startswith("/tmp:") and "exec" in tmp.split(":")[1].split(","), "code is loaded from there"


def test_variables_are_flags():
    sources = {"denoised": ROOT / "server" / "flags.cc", "viewer": ROOT / "client" / "viewer" / "main.cc"}
    for name, source in sources.items():
        for variable in COMPOSE["services"][name]["environment"]:
            flag = "--" + re.sub("^DENOISE(D|_VIEWER)_", "", variable).lower().replace("_", "-")
            assert f'"{flag}"' in source.read_text(), variable


def test_viewer_reaches_the_server():
    variables = COMPOSE["services"]["viewer"]["environment"]
    listens = dict(re.findall(r"(DENOISED\w*LISTEN)=0.0.0.0:(\d+)", " ".join(stages()["server"]["ENV"])))
    assert variables["DENOISE_VIEWER_SERVER"] == f"dns:///denoised:{listens['DENOISED_LISTEN']}"
    assert variables["DENOISE_VIEWER_METRICS"] == f"denoised:{listens['DENOISED_METRICS_LISTEN']}"


def test_prometheus_reads_its_configuration(tmp_path):
    folder = "/etc/prometheus/rules"
    text = (DEPLOY / "compose" / "prometheus.yml").read_text()
    assert folder in text
    here = tmp_path / "prometheus.yml"
    here.write_text(text.replace(folder, str(DEPLOY / "prometheus")))
    for path in (here, DEPLOY / "prometheus.yml"):
        subprocess.run([program("promtool"), "check", "config", str(path)], check=True, timeout=30)


def test_grafana_finds_prometheus_and_the_dashboard():
    mounts = dict(volume.split(":")[:2][::-1] for volume in COMPOSE["services"]["grafana"]["volumes"])
    provisioning = DEPLOY / "grafana" / "provisioning"
    (source,) = load(provisioning / "datasources" / "prometheus.yml")["datasources"]
    host, port = source["url"].removeprefix("http://").split(":")
    assert COMPOSE["services"][host]["ports"] == [f"127.0.0.1:{port}:{port}"]
    (provider,) = load(provisioning / "dashboards" / "denoised.yml")["providers"]
    folder = DEPLOY / mounts[provider["options"]["path"]]
    assert DASHBOARD.parent.resolve() == folder.resolve()
    home = COMPOSE["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{provider['options']['path']}/{DASHBOARD.name}"
