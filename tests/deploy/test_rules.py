"""Recording and alert rules, by promtool, and that they speak of what there is."""

import json
import subprocess

import pytest
from tools import DASHBOARD, PROMETHEUS, dashboard_queries, exported_metrics, load, metrics_of

from harness.paths import ROOT, program

RULES = [
    rule
    for name in ("recording.yml", "alerts.yml")
    for group in load(PROMETHEUS / name)["groups"]
    for rule in group["rules"]
]
ALERTS = [rule["alert"] for rule in RULES if "alert" in rule]


def test_promtool_passes_the_rules_own_tests():
    done = subprocess.run(
        [program("promtool"), "test", "rules", "tests.yml"],
        cwd=PROMETHEUS,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_is_tested_both_ways(alert):
    cases = [
        case
        for test in load(PROMETHEUS / "tests.yml")["tests"]
        for case in test.get("alert_rule_test", [])
        if case["alertname"] == alert
    ]
    assert [case for case in cases if case["exp_alerts"]], "nothing in which it fires"
    # Silence, or one server's alert where there are several servers.
    quiet = [case for case in cases if not case["exp_alerts"]]
    assert quiet or alert == "DenoisedRestarting", "nothing in which it does not fire"


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_is_explained(alert):
    assert f"### {alert}\n" in (ROOT / "docs" / "operations.md").read_text()


def test_every_metric_exists():
    queries = [rule["expr"] for rule in RULES]
    queries += [query for _, query in dashboard_queries(json.loads(DASHBOARD.read_text()))]
    used = set().union(*map(metrics_of, queries))
    assert used and used <= exported_metrics(), used - exported_metrics()


def test_every_metric_is_explained():
    text = (ROOT / "docs" / "metrics.md").read_text()
    parts = ("_bucket", "_sum", "_count")
    for name in exported_metrics():
        if name.startswith("denoise_") and not name.endswith(parts):
            assert f"`{name}`" in text, name
