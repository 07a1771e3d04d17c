"""Paths, YAML, and the names of metrics."""

import re
from pathlib import Path

import yaml

from harness.paths import ROOT

DEPLOY = ROOT / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
DASHBOARD = DEPLOY / "grafana" / "dashboards" / "denoised.json"


def load(path: Path):
    return yaml.safe_load(path.read_text())


def stages() -> dict[str, dict[str, list[str]]]:
    """The Dockerfile: name of a stage to its instructions, each with what it was given, in their order."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    found: dict[str, dict[str, list[str]]] = {}
    stage: dict[str, list[str]] = {}  # what stands before the first is of none
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        instruction, given = line.split(maxsplit=1)
        if instruction == "FROM":
            stage = found[given.split(" AS ")[1]] = {}
        stage.setdefault(instruction, []).append(given)
    return found


def exported_metrics() -> set[str]:
    """All names of samples that a server can expose, as its source has them."""
    source = "".join(
        (ROOT / "server" / "metrics" / name).read_text() for name in ("metrics.cc", "process_collector.cc")
    )
    names = set(re.findall(r'"((?:denoise|process)_[a-z_]+)"', source))
    histograms = {name for name in names if name.endswith(("_seconds", "_rows"))}
    return names | {f"{name}_{part}" for name in histograms for part in ("bucket", "sum", "count")}


def metrics_of(expression: str) -> set[str]:
    """Names of the server's samples in a PromQL expression; recorded series (a:b:c) are not among them."""
    return set(re.findall(r"(?<![\w:])(?:denoise|process)_[a-z_]+(?![\w:])", expression))


def dashboard_queries(dashboard: dict) -> list[tuple[str, str]]:
    """(title, expression) of every target of every panel."""
    return [(panel["title"], target["expr"]) for panel in dashboard["panels"] for target in panel.get("targets", [])]
