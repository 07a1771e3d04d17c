"""A server that dies in the middle of a call, and the client library that goes on at another one."""

import subprocess

import numpy as np

from harness.api import sample
from harness.paths import DENOISE, clean_environment
from harness.server import ONE_ENGINE
from harness.waiting import PATIENCE

STEPS = 600


def test_a_chain_goes_on_at_another_server(start_server, tmp_path):
    flags = *ONE_ENGINE, "--batch-sizes", "1,2"
    servers = [start_server(*flags) for _ in range(2)]
    out = tmp_path / "x.npy"
    running = subprocess.Popen(
        [
            DENOISE,
            "sample",
            "--address",
            f"ipv4:{servers[0].address},{servers[1].address}",
            "--retries",
            "3",
            "--class",
            "7",
            "--guidance",
            "1",
            "--sampler",
            "ddim",
            "--steps",
            str(STEPS),
            "--seed",
            "5",
            "--out",
            out,
            "--quiet",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environment(),
    )
    try:
        first, second = servers
        first.until_busy()
        first.kill()
        _, said = running.communicate(timeout=60 * PATIENCE)
    finally:
        running.kill()
    assert running.returncode == 0, said
    second.until_counted(1, method="Sample", code="OK")
    assert second.metric("rows_total") == STEPS, "from the beginning"
    expected = sample(
        second.stub, class_labels=[7], guidance_scale=1, seed=5, sampler=dict(kind="KIND_DDIM", steps=STEPS)
    ).samples
    np.testing.assert_array_equal(np.load(out), expected)


def test_without_retries_the_caller_is_told(start_server):
    server = start_server(*ONE_ENGINE, "--batch-sizes", "1,2")
    running = subprocess.Popen(
        [DENOISE, "sample", "--address", server.address, "--steps", str(STEPS), "--quiet"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environment(),
    )
    try:
        server.until_busy()
        server.kill()
        _, said = running.communicate(timeout=60 * PATIENCE)
    finally:
        running.kill()
    assert running.returncode == 69 and said.strip(), (running.returncode, said)
