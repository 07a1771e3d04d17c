"""ModelAdmin: models come and go while others are served."""

import re
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest

from harness.api import Outcome, connect, next_of, pb, pb_grpc, sample
from harness.errors import failing
from harness.models import GaussianDenoiser, copy_model, write_model
from harness.paths import DIGITS
from harness.waiting import PATIENCE, eventually

LISTENS = re.compile(r"ModelAdmin on (\S+)")
SERVING = pb.Model.STATUS_SERVING
LONG = pb.Sampler(kind=pb.Sampler.KIND_DDIM, steps=400)
TIMEOUT = 60 * PATIENCE


class Serving:
    """A server with a repository, in which digits is what it was whenever a test begins."""

    def __init__(self, start_server, folder):
        self.repository = folder / "repository"
        copy_model(DIGITS, self.repository / "digits" / "1", name=None)
        # Two sizes are measured in less time than all, at each of the loads.
        self.server = start_server(
            "--model-repository",
            str(self.repository),
            "--admin-listen",
            "127.0.0.1:0",
            "--batch-sizes",
            "1,4",
            model=None,
        )
        self.channel = connect(LISTENS.search(self.server.stderr)[1])
        self.admin = pb_grpc.ModelAdminStub(self.channel)
        self.digits = self.server.stub.GetModel(pb.GetModelRequest(), timeout=10)

    def restore(self) -> None:
        """Undoes what a test has done."""
        self.server.until_idle()
        eventually(lambda: all(status == SERVING for *_, status in names(self.server)), what="unloaded models are gone")
        for name, version, _ in names(self.server):
            if name != "digits":
                self.admin.UnloadModel(pb.UnloadModelRequest(model=name, model_version=version), timeout=TIMEOUT)
        shutil.rmtree(self.repository)
        copy_model(DIGITS, self.repository / "digits" / "1", name=None)
        models = self.server.stub.ListModels(pb.ListModelsRequest(), timeout=10).models
        if not models:
            self.admin.LoadModel(pb.LoadModelRequest(model="digits"), timeout=TIMEOUT)
        elif models[0].default_steps != self.digits.default_steps:
            self.admin.ReloadModel(pb.ReloadModelRequest(model="digits"), timeout=TIMEOUT)


@pytest.fixture(scope="module")
def serving(start_shared_server, tmp_path_factory):
    serving = Serving(start_shared_server, tmp_path_factory.mktemp("admin"))
    with serving.channel:
        yield serving


@pytest.fixture
def served(serving):
    yield serving.server
    serving.restore()


@pytest.fixture
def admin(serving, served):
    return serving.admin


@pytest.fixture
def repository(serving, served):
    return serving.repository


def write_gauss(repository, version: int = 1, mean: float = 0.5) -> None:
    write_model(repository / "gauss" / str(version), GaussianDenoiser(mean), shape=(3, 8, 8))


def names(server) -> list[tuple[str, int, int]]:
    models = server.stub.ListModels(pb.ListModelsRequest(), timeout=10).models
    return [(model.name, model.version, model.status) for model in models]


def test_loads_while_chains_run(repository, served, admin):
    alone = sample(served.stub, model="digits", seed=4, class_labels=[7], sampler=LONG)
    running = served.stub.Sample(
        pb.SampleRequest(
            model="digits", seed=4, class_labels=[7], sampler=LONG, states=pb.StateStreaming(every_n_steps=1)
        )
    )
    next_of(running, "state")
    write_gauss(repository)
    loaded = admin.LoadModel(pb.LoadModelRequest(model="gauss"), timeout=TIMEOUT)
    assert (loaded.name, loaded.version, loaded.status) == ("gauss", 1, SERVING)
    assert list(loaded.sample_shape) == [3, 8, 8] and loaded.batch_sizes and loaded.numerics_id
    # It was examined and warmed between the ticks of the chain, which goes on and ends as it would have.
    np.testing.assert_allclose(Outcome.of(running).samples, alone.samples, atol=1e-4)
    assert sample(served.stub, model="gauss", num_samples=3).samples.shape == (3, 3, 8, 8)


def test_a_running_chain_is_not_stalled_by_a_load(repository, served, admin):
    """States keep coming: between any two of them the engine does one call of the model that is loaded at most."""
    running = served.stub.Sample(
        pb.SampleRequest(
            model="digits", class_labels=[7], sampler=pb.Sampler(steps=1000), states=pb.StateStreaming(every_n_steps=1)
        )
    )
    first = next_of(running, "state")
    write_gauss(repository)
    admin.LoadModel(pb.LoadModelRequest(model="gauss"), timeout=TIMEOUT)
    # What the chain did meanwhile waits in its stream, or has been left out and counted.
    running_still = next_of(running, "state")
    assert running_still.step > first.step
    running.cancel()


def test_unloads_when_the_last_request_has_ended(repository, served, admin):
    write_gauss(repository)
    admin.LoadModel(pb.LoadModelRequest(model="gauss"), timeout=TIMEOUT)
    running = served.stub.Sample(
        pb.SampleRequest(
            model="digits", class_labels=[7], sampler=pb.Sampler(steps=1000), states=pb.StateStreaming(every_n_steps=1)
        )
    )
    next_of(running, "state")
    unload = admin.UnloadModel.future(pb.UnloadModelRequest(model="digits"), timeout=TIMEOUT)
    eventually(lambda: ("digits", 1, pb.Model.STATUS_DRAINING) in names(served), 10, "digits is being unloaded")
    refused = failing(served.stub.Sample, pb.SampleRequest(model="digits"), timeout=10)
    assert refused.code == grpc.StatusCode.UNAVAILABLE
    assert not unload.done(), "while a chain runs"
    assert Outcome.of(running).samples.shape == (1, 1, 28, 28)
    unload.result()
    assert names(served) == [("gauss", 1, SERVING)]
    assert failing(served.stub.Sample, pb.SampleRequest(model="digits"), timeout=10).code == grpc.StatusCode.NOT_FOUND
    # And can come back.
    admin.LoadModel(pb.LoadModelRequest(model="digits"), timeout=TIMEOUT)
    assert sample(served.stub, model="digits", class_labels=[1]).samples.shape == (1, 1, 28, 28)


def test_reload_takes_the_folder_as_it_is_now(repository, served, admin):
    told = len(served.stderr)
    running = served.stub.Sample(
        pb.SampleRequest(model="digits", class_labels=[7], sampler=LONG, states=pb.StateStreaming(every_n_steps=1))
    )
    next_of(running, "state")
    shutil.rmtree(repository / "digits")
    copy_model(DIGITS, repository / "digits" / "1", name=None, default_steps=7)
    reloaded = admin.ReloadModel(pb.ReloadModelRequest(model="digits"), timeout=TIMEOUT)
    assert reloaded.default_steps == 7
    assert sample(served.stub, class_labels=[1]).accepted.total_steps == 7
    assert Outcome.of(running).samples.shape == (1, 1, 28, 28), "ends on what it began with"
    eventually(lambda: "it has gone" in served.stderr[told:], 20, "the old one leaves the engines")
    assert names(served) == [("digits", 1, SERVING)]


def test_versions(repository, served, admin):
    for version in (1, 2):
        write_gauss(repository, version, mean=version / 10)
    assert admin.LoadModel(pb.LoadModelRequest(model="gauss"), timeout=TIMEOUT).version == 2
    assert admin.LoadModel(pb.LoadModelRequest(model="gauss", model_version=1), timeout=TIMEOUT).version == 1
    assert sample(served.stub, model="gauss").accepted.model_version == 2
    admin.UnloadModel(pb.UnloadModelRequest(model="gauss"), timeout=TIMEOUT)
    assert sample(served.stub, model="gauss").accepted.model_version == 1


def test_a_bad_reload_leaves_the_old_one(repository, served, admin):
    (repository / "digits" / "1" / "scheduler_config.json").write_text("{")
    failure = failing(admin.ReloadModel, pb.ReloadModelRequest(), timeout=TIMEOUT)
    assert failure.code == grpc.StatusCode.INVALID_ARGUMENT
    assert "scheduler_config.json" in failure.message
    assert sample(served.stub, class_labels=[1]).result is not None


def test_what_is_not_in_the_repository(admin):
    for model in ("nothing", "../digits", "digits/1", "/etc", "", "."):
        failure = failing(admin.LoadModel, pb.LoadModelRequest(model=model), timeout=TIMEOUT)
        assert failure.code == grpc.StatusCode.NOT_FOUND, model
        assert "digits version 1" in failure.message, "what there is"


def test_what_is_served_already(admin):
    failure = failing(admin.LoadModel, pb.LoadModelRequest(model="digits"), timeout=TIMEOUT)
    assert failure.code == grpc.StatusCode.ALREADY_EXISTS
    assert "ReloadModel" in failure.message


def test_unloading_twice(served, admin):
    running = served.stub.Sample(
        pb.SampleRequest(class_labels=[7], sampler=pb.Sampler(steps=1000), states=pb.StateStreaming(every_n_steps=1))
    )
    next_of(running, "state")
    first = admin.UnloadModel.future(pb.UnloadModelRequest(), timeout=TIMEOUT)
    eventually(lambda: names(served)[0][2] == pb.Model.STATUS_DRAINING, 10, "it is being unloaded")
    assert failing(admin.UnloadModel, pb.UnloadModelRequest(), timeout=10).code == grpc.StatusCode.FAILED_PRECONDITION
    first.cancel()  # the operation goes on
    running.cancel()
    eventually(lambda: names(served) == [], 10, "it has gone")


def test_many_reloads_keep_no_memory(repository, served, admin):
    write_gauss(repository)
    admin.LoadModel(pb.LoadModelRequest(model="gauss"), timeout=TIMEOUT)
    stop = threading.Event()

    def call():
        while not stop.is_set():
            sample(served.stub, model="gauss", sampler=pb.Sampler(steps=3))

    caller = threading.Thread(target=call)
    caller.start()
    try:
        sizes = []
        for _ in range(12):
            admin.ReloadModel(pb.ReloadModelRequest(model="gauss"), timeout=TIMEOUT)
            sizes.append(served.rss_bytes())
    finally:
        stop.set()
        caller.join()
    assert max(sizes[-3:]) - max(sizes[2:5]) < 8 << 20, [size >> 20 for size in sizes]


def test_off_unless_asked_for(server):
    stub = pb_grpc.ModelAdminStub(server.channel)
    assert failing(stub.LoadModel, pb.LoadModelRequest(model="x"), timeout=10).code == grpc.StatusCode.UNIMPLEMENTED


def test_stops_in_the_middle_of_a_load(start_server, tmp_path):
    serving = Serving(start_server, tmp_path)
    write_gauss(serving.repository)
    with serving.channel, ThreadPoolExecutor(1) as pool:
        load = pool.submit(serving.admin.LoadModel, pb.LoadModelRequest(model="gauss"), timeout=TIMEOUT)
        serving.server.stop()
        if error := load.exception():  # none where it was quick enough to end before
            assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
