"""slowhttptest against both HTTP ports: hundreds of connections that are slow in every way it knows."""

import contextlib
import re
import shutil
import socket
import subprocess
import time

import pytest

from harness.paths import BIN, clean_environment
from harness.waiting import PATIENCE, eventually

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("slowhttptest") is None, reason="no slowhttptest: ./dev test all gets it"),
]

CONNECTIONS, SECONDS = 500, 8
# Header fields, a body, reading, and ranges.
WAYS = {
    "headers": ["-H", "-i", "1"],
    "body": ["-B", "-i", "1"],
    "read": ["-X", "-w", "1", "-y", "8", "-n", "2", "-z", "4", "-k", "3"],
    "ranges": ["-R"],
}


@pytest.fixture(scope="module")
def viewer():
    process = subprocess.Popen(
        [str(BIN / "denoise-viewer"), "--server", "127.0.0.1:1", "--listen", "127.0.0.1:0"],
        env=clean_environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    yield re.search(r"http://(\S+)/$", process.stdout.readline().strip()).group(1)
    assert process.poll() is None
    process.terminate()
    assert process.wait(20) == 0


def ask(address: str, path: str, source: str) -> bytes:
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), 5 * PATIENCE, (source, 0)) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
        answer = b""
        with contextlib.suppress(ConnectionError):  # refused, where there is no answer
            while piece := connection.recv(65536):
                answer += piece
    return answer


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("port", ["metrics", "viewer"])
def test_others_are_answered_meanwhile(server, viewer, port, way, report):
    address, path = (server.metrics_address, "/metrics") if port == "metrics" else (viewer, "/")
    attack = subprocess.Popen(
        [
            "slowhttptest",
            "-c",
            str(CONNECTIONS),
            "-r",
            "200",
            "-l",
            str(SECONDS),
            *WAYS[way],
            "-u",
            f"http://{address}{path}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        slowest, answered = 0.0, 0
        while attack.poll() is None:
            begin = time.monotonic()
            assert ask(address, path, "127.0.0.2").startswith(b"HTTP/1.1 200")
            slowest, answered = max(slowest, time.monotonic() - begin), answered + 1
    finally:
        attack.kill()
        attack.wait()
    report(f"answers of {port} beside slow {way}", f"{answered}, the slowest in {slowest * 1e3:.0f} ms")
    # Those at its own address, as soon as it has gone.
    eventually(lambda: ask(address, path, "127.0.0.1").startswith(b"HTTP/1.1 200"), what="the attacker's address")
