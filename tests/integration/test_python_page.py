"""docs/python.md: its code is run as it stands there, with the server's address put in."""

import contextlib
import io
import re
import socket
import subprocess
import sys

import pytest

from harness.access import entry, write_tokens
from harness.api import pb, pb_grpc
from harness.certificates import Authority
from harness.paths import ROOT
from harness.server import ONE_ENGINE

PAGE = (ROOT / "docs" / "python.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
ADDRESS = "127.0.0.1:8500"


@pytest.fixture(scope="module")
def ran(digits_server):
    """What the page's program has defined and printed."""
    program = "\n".join(BLOCKS)
    assert len(BLOCKS) == PAGE.count("```python") and program.count(ADDRESS) == 1
    names, said = {}, io.StringIO()
    before = digits_server.metrics()
    with contextlib.redirect_stdout(said):
        exec(compile(program.replace(ADDRESS, digits_server.address), "docs/python.md", "exec"), names)
    digits_server.until_counted(1, before, code="CANCELLED")
    yield names, said.getvalue()
    names["channel"].close()


def test_samples_and_shows_how_far_it_is(ran):
    names, said = ran
    assert "digits [1, 28, 28] T = 1000" in said
    assert "seed 1 after 0 other requests" in said
    for sample in range(4):
        for step in (5, 10, 15, 20):
            assert f"sample {sample}: step {step} of 20," in said
    assert names["samples"].shape == (4, 1, 28, 28)
    assert abs(names["samples"]).max() < 2


def test_noises_and_evaluates(ran):
    names, said = ran
    for t in (100, 500, 999):
        assert said.count(f"t = {t}.0 alpha_bar = ") == 4
    assert len(names["bits_per_dim"]) == 4
    assert all(0 < bits < 8 for bits in names["bits_per_dim"])


def test_tells_errors(ran):
    _names, said = ran
    assert "INVALID_ARGUMENT INVALID_FIELD\nsampler.steps – " in said


def test_a_secure_channel(ran, start_server, tmp_path):
    ours = Authority(tmp_path / "ours", "Our root")
    pair, tokens = ours.issue("server", "IP:127.0.0.1"), tmp_path / "tokens"
    write_tokens(tokens, entry("page", "secret"))
    server = start_server(
        *ONE_ENGINE,
        "--batch-sizes",
        "1,2",
        "--tls-cert",
        str(pair.certificate),
        "--tls-key",
        str(pair.key),
        "--token-file",
        str(tokens),
    )
    with ran[0]["secure_channel"](server.address, ours.certificate.read_bytes(), "secret") as channel:
        assert pb_grpc.DiffusionStub(channel).GetModel(pb.GetModelRequest(), timeout=30).name == "digits"


def test_a_balanced_channel(ran, server):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        away = f"127.0.0.1:{nobody.getsockname()[1]}"
        with ran[0]["balanced_channel"](f"ipv4:{away},{server.address}") as channel:
            stub = pb_grpc.DiffusionStub(channel)
            for _ in range(4):
                assert stub.GetModel(pb.GetModelRequest(), timeout=30).name == "digits"


def test_the_page_says_how_to_make_the_stubs(tmp_path):
    """Its own command line, in a folder of its own."""
    (command,) = re.findall(r"^    python (-m grpc_tools.*)$", PAGE, re.MULTILINE)
    arguments = command.replace("-I proto", f"-I {ROOT / 'proto'}").split()
    subprocess.run([sys.executable, *arguments], cwd=tmp_path, check=True, timeout=60)
    assert (tmp_path / "denoise/v1/diffusion_pb2_grpc.py").exists()
