"""denoise, the command line."""

import json
import os
import signal
import socket
import subprocess

import numpy as np
import pytest
from PIL import Image, ImageSequence

from harness.api import diffuse, sample, tensor
from harness.paths import DENOISE, clean_environment
from harness.waiting import PATIENCE

USAGE, DATAERR, NOINPUT, UNAVAILABLE, CANTCREAT, TEMPFAIL = 64, 65, 66, 69, 73, 75


def denoise(server, *arguments, environment=None, cwd=None) -> subprocess.CompletedProcess:
    address = [] if server is None else ["--address", server.address]
    command, rest = arguments[:1], arguments[1:]
    return subprocess.run(
        [DENOISE, *command, *address, *map(str, rest)],
        capture_output=True,
        text=True,
        timeout=60 * PATIENCE,
        cwd=cwd,
        env=clean_environment() | (environment or {}),
        check=False,
    )


def succeeds(server, *arguments, **options) -> str:
    done = denoise(server, *arguments, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def fails(status: int, server, *arguments, **options) -> str:
    done = denoise(server, *arguments, **options)
    assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
    assert done.stderr.strip(), "says why"
    return done.stderr


FEW = ("--sampler", "ddim", "--steps", "8", "--seed", "1")
API_FEW = dict(sampler=dict(kind="KIND_DDIM", steps=8), seed=1)


# --- sample


def test_files_are_what_the_api_gives(server, tmp_path):
    out, states, animation = (tmp_path / name for name in ("x.npy", "states.npy", "chain.gif"))
    shown = succeeds(
        server,
        "sample",
        "--class",
        "1,2",
        "--n",
        "5",
        "--guidance",
        "2",
        *FEW,
        "--out",
        out,
        "--states",
        states,
        "--animate",
        animation,
        "--every",
        "4",
        "--content",
        "x_t,x_0",
        "--scale",
        "1",
        "--json",
    )
    expected = sample(server.stub, num_samples=5, class_labels=[1, 2, 1, 2, 1], guidance_scale=2, **API_FEW).samples
    got = np.load(out)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, atol=1e-4)
    got = np.load(states)
    assert got.shape == (3, 2, 5, 1, 28, 28), "steps 0, 4 and 8; two contents; five samples"
    np.testing.assert_allclose(got[-1, 0], expected, atol=1e-4)
    assert np.all(np.isnan(got[0, 1])), "nothing is predicted at step 0"
    frames = [np.asarray(f.convert("L")).astype(float) for f in ImageSequence.Iterator(Image.open(animation))]
    assert len(frames) == json.loads(shown)["frames"] == 3
    shades = np.clip((expected[0, 0] + 1) / 2, 0, 1) * 255
    assert np.mean(np.abs(frames[-1][:28, :28] - shades)) < 6, "ends in the sample"
    assert np.mean(np.abs(frames[0][:28, :28] - shades)) > 30, "begins as noise"


def test_a_grid_of_pictures(server, tmp_path):
    out = tmp_path / "digits.png"
    succeeds(server, "sample", "--class", "7", "--n", "16", *FEW, "--scale", "2", "--out", out)
    image = Image.open(out)
    side = 4 * 56 + 3 * 2  # pixels of four samples and three gaps
    assert image.mode == "L" and image.size == (side, side)
    expected = sample(server.stub, num_samples=16, class_labels=[7], **API_FEW).samples
    tile = np.asarray(image)[58 : 58 + 56 : 2, 58 : 58 + 56 : 2]
    assert np.max(np.abs(tile - np.clip((expected[5, 0] + 1) / 2, 0, 1) * 255)) <= 0.52


def test_json_is_one_document_and_nothing_else(server):
    done = denoise(server, "sample", "--class", "1", *FEW, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["seed"] == 1
    assert document["model"] == "digits"
    assert document["shape"] == [1, 1, 28, 28]
    assert len(document["timesteps"]) == 8 and len(document["alpha_bars"]) == 9
    assert document["denoiser_rows"] == 16
    assert document["timing"]["total_seconds"] > 0


def test_no_control_characters_where_there_is_no_terminal(server):
    done = denoise(server, "sample", "--class", "1", *FEW)
    assert done.returncode == 0
    for text in (done.stdout, done.stderr):
        assert "\x1b" not in text and "\r" not in text
    assert "seed 1" in done.stdout


# --- models, diffuse


def test_models(server):
    shown = succeeds(server, "models")
    assert "digits" in shown and "10 classes" in shown
    [model] = json.loads(succeeds(server, "models", "--json"))["models"]
    assert model["name"] == "digits" and model["status"].lower().endswith("serving")
    assert model["sample_shape"] == [1, 28, 28]
    assert len(model["alpha_bars"]) == 1000


def test_diffuse(server, tmp_path):
    x_0 = np.random.default_rng(3).uniform(-1, 1, (2, 1, 28, 28)).astype(np.float32)
    np.save(tmp_path / "x_0.npy", x_0)
    out = tmp_path / "noisy.npy"
    succeeds(
        server,
        "diffuse",
        "--image",
        tmp_path / "x_0.npy",
        "--timesteps",
        "0,100,999",
        "--seed",
        "4",
        "--chain",
        "--out",
        out,
    )
    expected = diffuse(server.stub, x_0=tensor(x_0), seed=4, timesteps=[0, 100, 999], chain=True)
    got = np.load(out)
    assert got.shape == (2, 3, 1, 28, 28)
    for state in expected.states:
        mine = got[state.sample_index, state.step - 1].ravel()
        assert np.array_equal(mine, np.frombuffer(state.tensor.data, "<f4"))


# --- bench


def test_bench_measures_a_load(server, tmp_path):
    before = server.metric("rows_total")
    picture = tmp_path / "h.png"
    shown = succeeds(
        server,
        "bench",
        "--clients",
        "4",
        "--steps",
        "2:3,6",
        "--sampler",
        "ddim,euler",
        "--class",
        "3,7",
        "--stream",
        "--slow-readers",
        "0.2/5ms",
        "--duration",
        "1s",
        "--warm-up",
        "200ms",
        "--seed",
        "3",
        "--histogram",
        picture,
        "--json",
    )
    figures = json.loads(shown)
    assert figures["model"] == "digits" and figures["loop"] == "closed" and figures["clients"] == 4
    assert figures["elapsed_seconds"] == 1 and figures["errors"] == {}
    assert figures["requests"] > 0 and figures["requests_per_second"] == figures["requests"]
    assert 0 < figures["rows"] <= server.metric("rows_total") - before
    assert [part["steps"] for part in figures["by_steps"]] == [2, 6]
    total = figures["total_seconds"]
    assert 0 < total["p50"] <= total["p90"] <= total["p99"] <= total["p99.9"] <= total["max"]
    assert total["count"] == sum(part["total_seconds"]["count"] for part in figures["by_steps"])
    assert figures["first_state_seconds"]["count"] == total["count"], "each streamed"
    assert figures["first_state_seconds"]["p50"] <= total["p50"]
    assert figures["client_cpu_seconds"] > 0
    assert Image.open(picture).mode == "L"


def test_bench_tells_what_it_has_when_it_is_interrupted(server):
    process = subprocess.Popen(
        [
            DENOISE,
            "bench",
            "--address",
            server.address,
            "--rate",
            "20",
            "--steps",
            "50",
            "--duration",
            "inf",
            "--warm-up",
            "0",
            "--json",
        ],
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        server.until_busy(1)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=10 * PATIENCE)
    finally:
        process.kill()
    assert process.returncode == 128 + signal.SIGINT
    assert json.loads(out)["interrupted"] is True
    server.until_idle(within=2)


# --- exit codes


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), ""),
        (("dance",), ""),
        (("sample", "--frobnicate"), "--frobnicate"),
        (("sample", "--out", "x.jpg"), "x.jpg"),
        (("diffuse",), "--out"),
        (("models", "--timeout", "soon"), "soon"),
        (("bench", "--clients", "2", "--rate", "3"), "--rate"),
    ],
    ids=lambda a: " ".join(a) if isinstance(a, tuple) else None,
)
def test_bad_flags(server, arguments, said):
    environment = {"DENOISE_ADDRESS": server.address}
    assert said in fails(USAGE, None, *arguments, environment=environment)


@pytest.mark.parametrize(
    ("status", "arguments", "said"),
    [
        (DATAERR, ("--class", "12"), "class_labels"),
        (DATAERR, ("--model", "cats"), "cats"),
        (NOINPUT, ("--initial-noise", "/nowhere.npy"), "/nowhere.npy"),
        (CANTCREAT, ("--out", "/nowhere/x.png"), "/nowhere/x.png"),
        (TEMPFAIL, ("--n", "64", "--sampler", "ddpm", "--steps", "1000", "--timeout", "500ms"), ""),
    ],
)
def test_exit_codes(server, status, arguments, said):
    assert said in fails(status, server, "sample", *arguments)
    server.until_idle(within=2)


def test_no_server():
    with socket.create_server(("127.0.0.1", 0)) as unused:
        address = f"127.0.0.1:{unused.getsockname()[1]}"
    said = fails(UNAVAILABLE, None, "models", "--address", address, "--connect-timeout", "500ms")
    assert address in said and len(said.splitlines()) <= 2
    fails(USAGE, None, "models", "--address", "no such thing")


def test_errors_with_json_leave_stdout_parseable(server):
    done = denoise(server, "sample", "--class", "12", "--json")
    assert done.returncode == DATAERR
    assert done.stdout == "" or json.loads(done.stdout)
    assert "class_labels" in done.stderr + done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_an_interrupt_cancels_on_the_server_too(server, number, tmp_path):
    out = tmp_path / "x.png"
    before = server.metrics()
    process = subprocess.Popen(
        [
            DENOISE,
            "sample",
            "--address",
            server.address,
            "--n",
            "16",
            "--sampler",
            "ddpm",
            "--steps",
            "1000",
            "--out",
            out,
        ],
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        server.until_busy(16)
        process.send_signal(number)
        process.communicate(timeout=10 * PATIENCE)
    finally:
        process.kill()
    assert process.returncode == 128 + number
    server.until_idle(within=2)
    cancelled = server.until(
        lambda m: m.total("requests_total", code="CANCELLED") > before.total("requests_total", code="CANCELLED")
    )
    assert cancelled.total("rows_total") - before.total("rows_total") < 16 * 1000
    assert not out.exists()
    assert os.listdir(tmp_path) == [], "nothing half-written is left behind"


def test_help():
    for command in ((), ("sample",), ("diffuse",), ("models",), ("admin",), ("bench",)):
        shown = subprocess.run([DENOISE, *command, "--help"], capture_output=True, text=True, timeout=10, check=False)
        assert shown.returncode == 0 and "Exit status" in shown.stdout
