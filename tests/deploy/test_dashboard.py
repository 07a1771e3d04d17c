"""Every query of the dashboard, of the recording rules and of the autoscaler's adapter, put to a real
Prometheus that scrapes a real server at work."""

import json
import math
import re
import signal
import socket
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request

import grpc
import pytest
from tools import DASHBOARD, DEPLOY, PROMETHEUS, dashboard_queries, load

from harness.api import pb
from harness.paths import DIGITS, program
from harness.server import Server
from harness.waiting import eventually

BOARD = json.loads(DASHBOARD.read_text())
VALUES = {"$__rate_interval": "10s", "$instance": ".*", "$job": "denoised"}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Prometheus:
    """A Prometheus that scrapes `target` every second, as the adapter of Kubernetes labels it."""

    def __init__(self, folder, target: str):
        self.url = f"http://127.0.0.1:{free_port()}"
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(PROMETHEUS / "recording.yml"), str(PROMETHEUS / "alerts.yml")],
            "scrape_configs": [
                {
                    "job_name": "denoised",
                    "static_configs": [{"targets": [target], "labels": {"namespace": "denoise", "pod": "denoised-0"}}],
                }
            ],
        }
        (folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
        self.log = folder / "log"
        with open(self.log, "wb") as log:
            self.popen = subprocess.Popen(
                [
                    program("prometheus"),
                    f"--config.file={folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    f"--web.listen-address={self.url.removeprefix('http://')}",
                ],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )

    def get(self, path: str, **query: str):
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        assert self.popen.poll() is None, self.log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            if error.code == 503:  # listening, and still starting
                return None
            raise AssertionError(f"{query}: {error.read().decode()}") from None
        except urllib.error.URLError:  # not listening yet
            return None

    def numbers(self, expression: str) -> list[float]:
        """The values of all series that it gives, without NaN."""
        data = self.get("query", query=expression)
        values = [float(series["value"][1]) for series in data["result"]] if data else []
        return [value for value in values if not math.isnan(value)]

    def stop(self) -> None:
        self.popen.send_signal(signal.SIGTERM)
        self.popen.wait(20)


def work(server: Server, stop: threading.Event) -> None:
    """A little of everything: requests that are served, and some that are turned away."""
    while not stop.is_set():
        request = pb.SampleRequest(
            num_samples=2, seed=1, sampler=dict(kind="KIND_DDIM", steps=10), states=dict(every_n_steps=2)
        )
        for _ in server.stub.Sample(request, timeout=60):
            pass
        try:
            for _ in server.stub.Sample(pb.SampleRequest(num_samples=1 << 20), timeout=60):
                pass
        except grpc.RpcError:
            pass
        stop.wait(0.2)  # little load


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory):
    server = Server(
        tmp_path_factory.mktemp("server"), "--model", str(DIGITS), "--batch-sizes", "1,4", "--devices", "cpu:1"
    )
    stop = threading.Event()
    worker = threading.Thread(target=work, args=(server, stop))
    worker.start()
    observer = Prometheus(tmp_path_factory.mktemp("prometheus"), server.metrics_address)
    try:
        yield observer
    finally:
        observer.stop()
        stop.set()
        worker.join(60)
        server.stop()
        server.close()


def filled_in(expression: str) -> str:
    for name, value in VALUES.items():
        expression = expression.replace(name, value)
    assert "$" not in expression, expression
    return expression


@pytest.mark.parametrize(("title", "query"), dashboard_queries(BOARD))
def test_panel_has_data(prometheus, title, query):
    eventually(lambda: prometheus.numbers(filled_in(query)), within=30, what=f"{title}: {query}")


@pytest.mark.parametrize("name", ["job", "instance"])
def test_variable_has_values(prometheus, name):
    (variable,) = [v for v in BOARD["templating"]["list"] if v["name"] == name]
    series, label = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]).groups()
    eventually(
        lambda: [
            found[label]
            for found in prometheus.get("series", **{"match[]": filled_in(series)}) or []
            if found.get(label)
        ],
        within=30,
        what=name,
    )


# Those of five minutes need two scrapes, not five minutes.
@pytest.mark.parametrize(
    "series", [rule["record"] for group in load(PROMETHEUS / "recording.yml")["groups"] for rule in group["rules"]]
)
def test_recorded_series_has_data(prometheus, series):
    eventually(lambda: prometheus.numbers(series), within=30, what=series)


def test_no_rule_fails_and_nothing_fires(prometheus):
    def evaluated():
        groups = (prometheus.get("rules") or {"groups": []})["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        return rules if rules and all(rule["health"] != "unknown" for rule in rules) else None

    for rule in eventually(evaluated, within=30, what="all rules evaluated"):
        assert rule["health"] == "ok", rule
        assert rule.get("state") != "firing", rule


@pytest.mark.parametrize("metric", ["denoise_requests_waiting", "denoise_chains_active"])
def test_autoscaler_gets_its_numbers(prometheus, metric):
    (rule,) = load(DEPLOY / "kubernetes" / "prometheus-adapter.yaml")["rules"]["custom"]
    query = rule["metricsQuery"].replace("<<.Series>>", metric)
    query = query.replace("<<.LabelMatchers>>", 'namespace="denoise",pod=~"denoised-0"')
    query = query.replace("<<.GroupBy>>", "pod")
    eventually(lambda: prometheus.numbers(query), within=30, what=query)
    matching = prometheus.get("series", **{"match[]": rule["seriesQuery"]})
    assert metric in {series["__name__"] for series in matching}
