"""denoise admin, against a real server."""

import json
import re
import signal
import socket
import subprocess

import numpy as np
import pytest

from harness.api import next_of, pb, tensor
from harness.models import GaussianDenoiser, write_model
from harness.paths import DENOISE, clean_environment
from harness.server import ONE_ENGINE
from harness.waiting import PATIENCE, eventually

USAGE, DATAERR, UNAVAILABLE, TEMPFAIL = 64, 65, 69, 75
SHAPE = (3, 8, 8)


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    root = tmp_path_factory.mktemp("repository")
    write_model(root / "always" / "1", GaussianDenoiser(), shape=SHAPE)
    return root


@pytest.fixture(scope="module")
def served(start_shared_server, repository):
    server = start_shared_server(
        "--model-repository",
        str(repository),
        "--admin-listen",
        "127.0.0.1:0",
        *ONE_ENGINE,
        "--batch-sizes",
        "1,4",
        model=None,
    )
    # Loaded by the tests, and not at the start.
    for version in (1, 2):
        write_model(repository / "faces" / str(version), GaussianDenoiser(version / 4), shape=SHAPE)
    server.admin_address = re.search(r"ModelAdmin on (\S+)", server.stderr)[1]
    return server


def command(*arguments: str, address: str | None = None, **environment: str) -> dict:
    to = [] if address is None else ["--address", address]
    return dict(
        args=[DENOISE, "admin", *arguments, *to],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environment() | environment,
    )


def admin(server, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(**command(*arguments, address=server.admin_address), timeout=60 * PATIENCE, check=False)


def names(server) -> list[tuple[str, int, int]]:
    models = server.stub.ListModels(pb.ListModelsRequest(), timeout=10).models
    return [(model.name, model.version, model.status) for model in models]


SERVING, DRAINING = pb.Model.STATUS_SERVING, pb.Model.STATUS_DRAINING
ALWAYS = ("always", 1, SERVING)


def test_a_model_comes_and_goes(served):
    loaded = admin(served, "load", "faces")
    assert loaded.returncode == 0, loaded.stderr
    assert loaded.stdout.startswith("faces  version 2  SERVING\n") and "[3, 8, 8]" in loaded.stdout
    again = admin(served, "load", "faces")
    assert again.returncode == DATAERR and "faces version 2 is served already" in again.stderr

    older = admin(served, "load", "faces", "--model-version", "1", "--json")
    assert older.returncode == 0, older.stderr
    assert json.loads(older.stdout)["model"]["version"] == 1
    reloaded = admin(served, "reload", "faces", "--json")
    model = json.loads(reloaded.stdout)["model"]
    assert (model["name"], model["version"], model["status"]) == ("faces", 2, "SERVING")

    gone = admin(served, "unload", "faces", "--model-version", "1")
    assert (gone.returncode, gone.stdout) == (0, "faces is unloaded\n"), gone.stderr
    assert names(served) == [ALWAYS, ("faces", 2, SERVING)]
    gone = admin(served, "unload", "faces", "--json", "--request-id", "the-last")
    assert gone.returncode == 0 and json.loads(gone.stdout) == {"unloaded": "faces"}
    assert names(served) == [ALWAYS]
    eventually(lambda: "id=the-last method=UnloadModel" in served.stderr, what="its line in the log")


def test_refusals(served):
    unknown = admin(served, "load", "cats", "--json")
    assert unknown.returncode == DATAERR
    assert "cats is not in the repository" in unknown.stderr and "faces version 1" in unknown.stderr
    assert json.loads(unknown.stdout)["error"]["code"] == "NOT_FOUND"
    assert admin(served, "unload", "cats").returncode == DATAERR
    assert admin(served, "reload", "cats").returncode == DATAERR


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "OPERATION is required"),
        (("load",), "MODEL is required"),
        (("drop", "faces"), "'drop' is none of load|unload|reload"),
        (("load", "faces", "--model-version", "new"), "--model-version"),
        (("load", "faces", "--tenant", "me"), "--tenant"),
        (("load", "faces", "--address", "8502"), "has no port"),
        (("load", "faces", "--token-file", "/dev/null"), "in the clear"),
    ],
)
def test_bad_flags(arguments, said):
    done = subprocess.run(**command(*arguments), timeout=60, check=False)
    assert done.returncode == USAGE and said in done.stderr, done


def test_the_ports(served):
    done = subprocess.run(**command("unload", "always", address=served.address), timeout=60, check=False)
    assert done.returncode == UNAVAILABLE and "--admin-listen" in done.stderr, "that for callers"
    with socket.create_server(("127.0.0.1", 0)) as unused:
        nowhere = f"127.0.0.1:{unused.getsockname()[1]}"
    done = subprocess.run(
        **command("load", "faces", "--connect-timeout", "300ms", address=nowhere), timeout=60, check=False
    )
    assert done.returncode == UNAVAILABLE and nowhere in done.stderr and "with --admin-listen" in done.stderr
    done = subprocess.run(
        **command("load", "always", DENOISE_ADMIN_ADDRESS=served.admin_address, DENOISE_ADDRESS=nowhere),
        timeout=60,
        check=False,
    )
    assert done.returncode == DATAERR and "always version 1 is served already" in done.stderr


@pytest.fixture
def running(served):
    """A request of faces that is held back by its reader, and so for as long as a test wants."""
    assert admin(served, "load", "faces", "--model-version", "1").returncode == 0
    x_0 = tensor(np.zeros((16, *SHAPE), np.float32))
    call = served.stub.Diffuse(pb.DiffuseRequest(model="faces", x_0=x_0, timesteps=range(1000), chain=True))
    next_of(call, "state")
    yield call
    call.cancel()
    eventually(lambda: names(served) == [ALWAYS], what="faces has gone")


def test_who_does_not_wait_leaves_the_server_to_it(served, running):
    late = admin(served, "unload", "faces", "--timeout", "500ms")
    assert late.returncode == TEMPFAIL and "--timeout" in late.stderr
    assert ("faces", 1, DRAINING) in names(served)
    refused = admin(served, "unload", "faces")
    assert refused.returncode == DATAERR and "is being unloaded already" in refused.stderr


def test_an_interrupt_ends_the_waiting(served, running):
    process = subprocess.Popen(**command("unload", "faces", address=served.admin_address))
    try:
        eventually(lambda: ("faces", 1, DRAINING) in names(served), what="it is being unloaded")
        process.send_signal(signal.SIGINT)
        assert process.wait(10 * PATIENCE) == 128 + signal.SIGINT
    finally:
        process.kill()
        process.communicate()
    assert ("faces", 1, DRAINING) in names(served), "until its request ends"
