"""Fixtures. Most tests share one server; those that need other flags, or to kill it, start their own."""

import contextlib
import os
from pathlib import Path

import pytest

from harness.paths import DENOISED, DIGITS
from harness.reference import Reference
from harness.server import Process, Server


def pytest_sessionstart(session):
    # Tests and servers share the cores: a thread of OpenMP that waits for others must not take one from them.
    os.environ["OMP_WAIT_POLICY"] = "passive"
    if not DENOISED.exists():
        pytest.exit(f"{DENOISED} is not there: build first (./dev build), or set DENOISE_BUILD", 2)


@contextlib.contextmanager
def servers(folder: Path):
    """Gives start(*flags, model=…), which starts a server. Those that still run at the end are stopped by SIGTERM,
    and must then exit with 0."""
    started = []

    def start(*flags: str, model: Path | None = DIGITS, **options) -> Server:
        models = () if model is None else ("--model", str(model))
        started.append(Server(folder / f"server{len(started)}", *models, *flags, **options))
        return started[-1]

    try:
        yield start
        for server in started:
            if server.running:
                server.stop()
    finally:
        for server in started:
            server.kill()
            server.close()


@pytest.fixture(scope="session")
def digits_server(tmp_path_factory):
    with servers(tmp_path_factory.mktemp("digits")) as start:
        yield start()


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
    """start_server(*flags, model=…): a server of the test's own, which the test may end."""
    with servers(tmp_path) as start:
        yield start


@pytest.fixture(scope="module")
def start_shared_server(tmp_path_factory):
    """The same, for fixtures of a whole module: a server takes seconds to start."""
    with servers(tmp_path_factory.mktemp("servers")) as start:
        yield start


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
