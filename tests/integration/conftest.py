"""Fixtures. Most tests share one server; those that need other flags, or to kill it, start their own."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from harness.paths import DENOISED, DIGITS  # noqa: E402
from harness.reference import Reference  # noqa: E402
from harness.server import Process, Server  # noqa: E402


def pytest_sessionstart(session):
    if not DENOISED.exists():
        pytest.exit(f"{DENOISED} is not there: build first (./dev build), or set DENOISE_BUILD", 2)


@pytest.fixture(scope="session")
def digits_server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("digits"), "--model", str(DIGITS))
    try:
        yield server
        server.stop()
    finally:
        server.kill()
        server.close()


@pytest.fixture
def server(digits_server):
    """The shared server. Whoever uses it leaves it without a chain."""
    assert digits_server.running, digits_server.stderr
    yield digits_server
    digits_server.until_idle()


@pytest.fixture
def stub(server):
    return server.stub


@pytest.fixture
def start_server(tmp_path):
    """start_server(*flags, model=…): a server of the test's own. It is stopped by SIGTERM at the end,
    unless the test has ended it, and must then exit with 0."""
    servers = []

    def start(*flags: str, model: Path | None = DIGITS, **options) -> Server:
        models = () if model is None else ("--model", str(model))
        servers.append(Server(tmp_path / f"server{len(servers)}", *models, *flags, **options))
        return servers[-1]

    try:
        yield start
        for server in servers:
            if server.running:
                server.stop()
    finally:
        for server in servers:
            server.kill()
            server.close()


@pytest.fixture
def start_process(tmp_path):
    """start_process(*flags): `denoised` with just these flags, whatever becomes of it."""
    processes = []

    def start(*flags: str, **options) -> Process:
        processes.append(Process(tmp_path / f"process{len(processes)}", *flags, **options))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()


@pytest.fixture(scope="session")
def reference():
    """The bundled model as diffusers runs it."""
    return Reference(DIGITS)


@pytest.fixture
def report(record_property, capsys):
    """report(name, value): a figure, shown even when the test passes."""

    def show(name: str, value) -> None:
        record_property(name, str(value))
        with capsys.disabled():
            print(f"\n    {name}: {value}")

    return show
