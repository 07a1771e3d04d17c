"""The server on a root file system that it cannot write to, as compose.yaml and Kubernetes give it one:
here a mount namespace in which / is read-only, for which one must be root."""

import os
import shutil
import subprocess

import grpc
import pytest

from harness.api import pb_grpc, sample
from harness.paths import DENOISED, DIGITS, clean_environment
from harness.server import READY

READ_ONLY = 'mount --make-rprivate / && mount -o remount,bind,ro / && exec "$@"'


def isolated(*command: str) -> list[str]:
    return ["unshare", "--mount", "sh", "-c", READ_ONLY, "sh", *command]


def can_isolate() -> bool:
    if os.getuid() != 0 or not shutil.which("unshare"):
        return False
    return subprocess.run(isolated("true"), capture_output=True, timeout=20, check=False).returncode == 0


pytestmark = pytest.mark.skipif(not can_isolate(), reason="cannot make a read-only mount namespace here")


def test_nothing_can_be_written(tmp_path):
    """Negative control."""
    done = subprocess.run(
        isolated("touch", str(tmp_path / "x")), capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode != 0 and "Read-only" in done.stderr


def test_server_starts_serves_and_stops():
    flags = ["--model", str(DIGITS), "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"]
    server = subprocess.Popen(
        isolated(str(DENOISED), *flags, "--devices", "cpu:1", "--batch-sizes", "1,4"),
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        ready = READY.search(server.stdout.readline())
        assert ready, server.stderr.read()
        with grpc.insecure_channel(ready["grpc"]) as channel:
            drawn = sample(pb_grpc.DiffusionStub(channel), seed=1, sampler=dict(steps=3), encoding="ENCODING_PNG")
        assert drawn.result.pngs
    finally:
        server.terminate()
        _, log = server.communicate(timeout=30)
    assert server.returncode == 0 and "error" not in log, log
