"""Health, reflection, metrics, and what the server says of its models."""

import hashlib
import json
import subprocess

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from harness.api import CALL_TIMEOUT, pb, sample
from harness.errors import failing
from harness.metrics import Metrics
from harness.paths import DIGITS, program

FAMILIES = {
    "requests": "counter",
    "requests_waiting": "gauge",
    "chains_active": "gauge",
    "queue_seconds": "histogram",
    "first_state_seconds": "histogram",
    "request_seconds": "histogram",
    "tick_seconds": "histogram",
    "denoiser_seconds": "histogram",
    "batch_rows": "histogram",
    "engine_overhead_seconds": "histogram",
    "rows": "counter",
    "batches": "counter",
    "padding_rows": "counter",
    "states_sent": "counter",
    "states_dropped": "counter",
    "chains_failed": "counter",
    "requests_rejected": "counter",
    "model_load_seconds": "gauge",
    "build_info": "gauge",
}


@pytest.mark.parametrize("service", ["", "digits"])
def test_health_check(server, service):
    health = health_pb2_grpc.HealthStub(server.channel)
    answer = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=10)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_health_of_what_is_not_there(server):
    health = health_pb2_grpc.HealthStub(server.channel)
    request = health_pb2.HealthCheckRequest(service="cats")
    assert failing(health.Check, request, timeout=10).code == grpc.StatusCode.NOT_FOUND
    watch = health.Watch(request, timeout=CALL_TIMEOUT)
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    watch.cancel()


def test_reflection(server):
    reflected = ProtoReflectionDescriptorDatabase(server.channel)
    assert {"denoise.v1.Diffusion", "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"} <= set(
        reflected.get_services()
    )
    file = reflected.FindFileContainingSymbol("denoise.v1.Diffusion")
    [service] = [s for s in file.service if s.name == "Diffusion"]
    assert {m.name for m in service.method} == {"Sample", "Diffuse", "Evaluate", "ListModels", "GetModel"}


def test_promtool_finds_nothing(server):
    sample(server.stub, seed=1, sampler=dict(steps=2), states=dict(every_n_steps=1))
    failing(server.stub.Sample, pb.SampleRequest(model="cats"), timeout=10)
    checked = subprocess.run(
        [program("promtool"), "check", "metrics"],
        input=server.metrics().text,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr
    assert checked.stdout == "" and checked.stderr == ""


def test_promtool_would_find_something(server):
    """Negative control."""
    text = "\n".join(line for line in server.metrics().text.splitlines() if "# HELP denoise_rows" not in line)
    checked = subprocess.run(
        [program("promtool"), "check", "metrics"],
        input=text + "\n",
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert checked.returncode != 0


def test_all_families_are_there_with_help(server):
    sample(server.stub, seed=1, sampler=dict(steps=2), states=dict(every_n_steps=1))
    failing(server.stub.Sample, pb.SampleRequest(model="cats"), timeout=10)
    metrics = server.until(lambda m: m.total("requests_total", code="NOT_FOUND") >= 1)
    kinds = {name: family.type for name, family in metrics.families.items()}
    missing = {n: k for n, k in FAMILIES.items() if kinds.get(f"denoise_{n}") != k}
    # A family with labels appears with its first series.
    assert set(missing) <= {"chains_failed", "requests_rejected"}, missing
    assert all(family.documentation for family in metrics.families.values())
    for name in ("process_resident_memory_bytes", "process_open_fds", "process_start_time_seconds"):
        assert name in metrics.families
    [process_cpu] = metrics.families["process_cpu_seconds"].samples
    assert process_cpu.value > 0


def test_rejections_are_counted_by_reason(server):
    before = server.metrics()
    failing(server.stub.Sample, pb.SampleRequest(num_samples=1000), timeout=10)
    server.until(
        lambda m: (
            m.total("requests_rejected_total", reason="invalid_field")
            - before.total("requests_rejected_total", reason="invalid_field")
            == 1
        )
    )


def test_callers_cannot_make_series(server):
    """A label's values are the server's own, however many names are tried."""
    before = len(list(server.metrics().families["denoise_requests"].samples))
    for i in range(50):
        failing(server.stub.Sample, pb.SampleRequest(model=f"made-up-{i}"), timeout=10)
    metrics = server.metrics()
    assert "made-up" not in metrics.text
    assert len(list(metrics.families["denoise_requests"].samples)) <= before + 2


def test_latencies_are_counted_once_a_request(server):
    before = server.metrics()
    for _ in range(5):
        sample(server.stub, seed=1, sampler=dict(steps=2), states=dict(every_n_steps=1))
    names = ["queue_seconds_count", "first_state_seconds_count", "request_seconds_count"]
    server.until(lambda m: [m.total(n) - before.total(n) for n in names] == [5, 5, 5], what="5 of each")
    metrics = server.metrics()
    assert metrics.total("states_sent_total") - before.total("states_sent_total") == 10


def test_many_scrapes_at_once(server):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:
        scrapes = list(pool.map(lambda _: Metrics.scrape(server.metrics_address), range(64)))
    assert all(s.families for s in scrapes)


def test_the_model(server):
    listed = server.stub.ListModels(pb.ListModelsRequest(), timeout=10).models
    model = server.stub.GetModel(pb.GetModelRequest(model="digits"), timeout=10)
    assert list(listed) == [model]
    described = json.loads((DIGITS / "model.json").read_text())
    config = json.loads((DIGITS / "scheduler_config.json").read_text())
    assert (model.name, model.version, model.status) == ("digits", 1, pb.Model.STATUS_SERVING)
    assert list(model.sample_shape) == described["sample_shape"]
    assert [model.value_min, model.value_max] == described["value_range"]
    assert (model.num_classes, model.null_class) == (10, 10)
    assert [i.name for i in model.inputs] == ["class_labels"]
    assert model.prediction_type == config["prediction_type"]
    assert model.scheduler == config["_class_name"]
    assert model.num_train_timesteps == config["num_train_timesteps"]
    betas = np.linspace(config["beta_start"], config["beta_end"], model.num_train_timesteps)
    np.testing.assert_allclose(model.alpha_bars, np.cumprod(1 - betas), rtol=1e-5)
    assert model.default_steps == described["default_steps"]
    assert model.default_guidance_scale == described["default_guidance_scale"]
    assert model.layout in ("contiguous", "channels_last")
    assert (model.precision, model.executor) == ("float32", "torchscript")
    assert model.replicas >= 1 and model.threads >= 1
    sizes = list(model.batch_sizes)
    assert sizes and sizes == sorted(set(sizes))
    digest = hashlib.sha256((DIGITS / "denoiser.pt").read_bytes()).hexdigest()
    assert model.sha256 == digest


def test_the_empty_name_is_the_only_model(stub):
    assert stub.GetModel(pb.GetModelRequest(), timeout=10).name == "digits"
