"""Tuning when a model is loaded: what is chosen and told, the cache, precisions."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from harness.api import array, pb, sample
from harness.paths import DENOISE, DENOISED, DIGITS, clean_environment
from harness.server import ONE_ENGINE

HAS_BFLOAT16 = any(flag in Path("/proc/cpuinfo").read_text().split() for flag in ("avx512_bf16", "amx_bf16", "bf16"))
needs_bfloat16 = pytest.mark.skipif(not HAS_BFLOAT16, reason="this CPU has no bfloat16")
# Fewer to measure once the way is chosen.
SIZES = ("--batch-sizes", "1,4")
# Enough to measure two layouts on a busy machine, which teams of threads take long on.
SHORT = ("--tune-seconds", "1", "--threads", "1", *SIZES)


def model_of(server) -> pb.Model:
    return server.stub.GetModel(pb.GetModelRequest())


def chosen_of(model: pb.Model) -> pb.TuningResult:
    [chosen] = [way for way in model.tuning if way.chosen]
    return chosen


def test_a_tuned_server_says_what_it_chose_and_why(start_server, tmp_path, report):
    cache = tmp_path / "cache.json"
    flags = ("--tune-cache", str(cache), *SIZES)
    server = start_server("--tune-seconds", "3", *flags)
    model = model_of(server)
    chosen = chosen_of(model)
    assert len(model.tuning) > 1
    assert {way.layout for way in model.tuning} == {"contiguous", "channels_last"}
    for field in ("executor", "layout", "precision", "replicas", "threads"):
        assert getattr(model, field) == getattr(chosen, field), field
    cores = len(os.sched_getaffinity(0))
    assert model.replicas * model.threads <= cores
    for way in model.tuning:
        assert way.rows_per_second > 0 and way.call_seconds > 0 and way.batch_size > 0
        assert 0 <= way.relative_error <= 1e-5
    best = max(way.rows_per_second for way in model.tuning)
    report("tuned", f"{chosen.layout} {chosen.replicas} x {chosen.threads}")
    assert chosen.rows_per_second > 0.5 * best, "it need not be the best of all by a narrow margin"
    assert "chosen" in server.stderr and "channels_last" in server.stderr
    assert sample(server.stub, num_samples=2, sampler=dict(steps=2)).result

    # What is in the cache is told again to the last digit, and nothing is measured.
    second = model_of(start_server("--tune-seconds", "3", *flags))
    assert second.tuning == model.tuning
    assert second.batch_sizes == model.batch_sizes
    assert second.numerics_id == model.numerics_id

    # Other flags are another question.
    other = model_of(start_server("--layout", "contiguous", *ONE_ENGINE, *flags))
    assert len(other.tuning) == 1 and other.layout == "contiguous" and other.replicas == 1

    shown = subprocess.run(
        [DENOISE, "models", "--json", "--address", server.address],
        capture_output=True,
        text=True,
        timeout=20,
        env=clean_environment(),
        check=True,
    )
    [described] = json.loads(shown.stdout)["models"]
    assert len(described["tuning"]) == len(model.tuning)
    assert described["numerics_id"] == model.numerics_id


@pytest.fixture(scope="module")
def cached(start_shared_server, tmp_path_factory) -> str:
    """What a server writes to its --tune-cache."""
    cache = tmp_path_factory.mktemp("cache") / "cache.json"
    start_shared_server(*SHORT, "--tune-cache", str(cache)).stop()
    return cache.read_text()


@pytest.mark.parametrize("damage", ["truncated", "another machine", "something else"])
def test_a_cache_that_cannot_be_used(start_server, tmp_path, cached, damage):
    cache = tmp_path / "cache.json"
    flags = (*SHORT, "--tune-cache", str(cache))
    text = cached
    if damage == "truncated":
        text = text[: len(text) // 2]
    elif damage == "another machine":
        document = json.loads(text)
        document["choices"][0]["key"]["cpu"] = "abacus"
        text = json.dumps(document)
    else:
        text = "precious notes"
    cache.write_text(text)
    server = start_server(*flags)
    assert len(model_of(server).tuning) > 1, "tuned again"
    if damage == "another machine":
        assert "--tune-cache" not in server.stderr
        assert len(json.loads(cache.read_text())["choices"]) == 2
    else:
        assert str(cache) in server.stderr and "delete it" in server.stderr
        assert cache.read_text() == text, "left as it was"


def test_a_cache_that_cannot_be_written(start_server, tmp_path):
    cache = tmp_path / "nowhere" / "cache.json"
    server = start_server(*SHORT, "--tune-cache", str(cache))
    assert f"--tune-cache {cache}: it cannot be written" in server.stderr
    assert len(model_of(server).tuning) > 1


def test_flags_fix_their_part(start_server):
    model = model_of(start_server("--tune-seconds", "1", "--threads", "1", "--layout", "contiguous", *SIZES))
    assert {(way.layout, way.threads) for way in model.tuning} == {("contiguous", 1)}
    model = model_of(start_server("--devices", "cpu:1", *SHORT))
    assert {way.replicas for way in model.tuning} == {1}
    assert {way.layout for way in model.tuning} == {"contiguous", "channels_last"}


def test_for_latency(start_server):
    model = model_of(start_server("--tune-seconds", "3", "--tune-for", "latency", *SIZES))
    assert {way.batch_size for way in model.tuning} == {1}
    untuned = model_of(start_server("--tune-for", "latency", *SIZES))
    assert untuned.replicas == 1 and untuned.threads == len(os.sched_getaffinity(0))


def test_nothing_is_tuned_with_batch_invariance(start_server):
    flags = ("--batch-invariant", "--max-batch-rows", "4", "--tune-seconds", "3")
    first, second = (model_of(start_server(*flags)) for _ in range(2))
    assert len(first.tuning) == len(second.tuning) == 1
    for field in ("layout", "executor", "replicas", "threads", "numerics_id"):
        assert getattr(first, field) == getattr(second, field), field


def test_the_numerics_id(server, start_server):
    id_here = model_of(server).numerics_id
    assert len(id_here) == 32 and int(id_here, 16) >= 0
    accepted = sample(server.stub, sampler=dict(steps=1)).accepted
    assert accepted.numerics_id == id_here
    assert model_of(start_server()).numerics_id == id_here
    assert model_of(start_server("--layout", "contiguous")).numerics_id != id_here


@needs_bfloat16
def test_bfloat16_is_near_float32(server, start_server, report):
    half = start_server("--precision", "bfloat16")
    model = model_of(half)
    assert model.precision == "bfloat16"
    assert 1e-6 < chosen_of(model).relative_error < 3e-2
    assert model.numerics_id != model_of(server).numerics_id
    request = dict(num_samples=4, seed=5, class_labels=[3], sampler=dict(kind="KIND_DDIM", steps=20))
    a = array(sample(half.stub, **request).result.samples)
    b = array(sample(server.stub, **request).result.samples)
    assert np.isfinite(a).all()
    apart = np.sqrt(np.mean((a - b) ** 2))
    report("bfloat16 from float32, root mean square of samples in -1..1", f"{apart:.2g}")
    assert 0 < apart < 0.1


@needs_bfloat16
def test_examine_tells_of_the_precision_and_of_tuning():
    done = subprocess.run(
        [
            DENOISED,
            "--examine",
            DIGITS,
            "--precision",
            "bfloat16",
            "--tune-seconds",
            "1",
            "--max-batch-rows",
            "4",
            "--log-level",
            "warn",
        ],
        capture_output=True,
        text=True,
        timeout=80,
        env=clean_environment(),
        check=False,
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert "\ntuning\n" in done.stdout and "numerics id" in done.stdout
    assert "bfloat16" in done.stdout and "  chosen" in done.stdout
