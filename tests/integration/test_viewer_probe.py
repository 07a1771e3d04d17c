"""denoise-viewer --probe, which its image's HEALTHCHECK asks. The page itself is tests/browser's."""

import re
import socket
import subprocess

import pytest

from harness.paths import BIN, clean_environment

VIEWER = BIN / "denoise-viewer"


def probe(listen: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [str(VIEWER), "--probe", "--listen", listen],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0"])
def test_probe_of_a_viewer_whose_server_is_away(listen):
    viewer = subprocess.Popen(
        [str(VIEWER), "--server", "127.0.0.1:1", "--listen", listen],
        env=clean_environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        port = re.search(r":(\d+)/$", viewer.stdout.readline().strip()).group(1)
        done = probe(listen.replace(":0", f":{port}"))
        assert done.returncode == 0, done.stdout
        assert "serves the page" in done.stdout
    finally:
        viewer.terminate()
        assert viewer.wait(20) == 0


def test_probe_of_nothing():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        done = probe(f"127.0.0.1:{taken.getsockname()[1]}")
    assert done.returncode == 1
    assert "does not answer" in done.stdout
