"""The Open Inference Protocol, by NVIDIA's tritonclient as it comes from pip."""

import contextlib
import io
import os
import queue
import re
import signal
import uuid

import grpc
import numpy as np
import pytest
import torch
import tritonclient.grpc as triton
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_tools import protoc
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException, shared_memory

from harness.api import CALL_TIMEOUT, pb, sample, tensor
from harness.models import GaussianDenoiser, write_model
from harness.paths import DIGITS, ROOT


@pytest.fixture(scope="module")
def served(start_shared_server):
    """The bundled model, whose bits are the same in any batch; shared memory is allowed."""
    return start_shared_server("--batch-invariant", "--shared-memory")


@pytest.fixture
def client(served):
    with triton.InferenceServerClient(served.address) as client:
        yield client
    served.until_idle()


@pytest.fixture
def stub(served):
    """The generated stub, for what tritonclient does not let through."""
    return service_pb2_grpc.GRPCInferenceServiceStub(served.channel)


def made(name: str, values, datatype: str) -> triton.InferInput:
    values = np.asarray(values)
    tensor = triton.InferInput(name, list(values.shape), datatype)
    return tensor.set_data_from_numpy(values)


def floats(name, values):
    return made(name, np.array(values, np.float32), "FP32")


def integers(name, values):
    return made(name, np.array(values, np.int64), "INT64")


def x_and_t(n=3, seed=0, times=(999, 500.5, 0)):
    noise = np.random.default_rng(seed).standard_normal((n, 1, 28, 28)).astype(np.float32)
    return noise, np.resize(np.array(times, np.float32), n)


def denoiser_inputs(n=3, **options):
    x, t = x_and_t(n, **options)
    return [floats("x", x), floats("timestep", t)]


def sample_inputs(seed=7, label=(7,), steps=6, sampler=b"ddim", **scalars):
    inputs = [
        made("seed", np.array([seed], np.uint64), "UINT64"),
        integers("class_label", list(label)),
        made("steps", np.array([steps], np.uint32), "UINT32"),
        made("sampler", np.array([sampler], object), "BYTES"),
    ]
    return inputs + [floats(name, [value]) for name, value in scalars.items()]


@torch.inference_mode()
def directly(x, t, labels) -> np.ndarray:
    denoiser = torch.jit.load(str(DIGITS / "denoiser.pt")).eval()
    out = denoiser(torch.tensor(x), torch.tensor(t), torch.tensor(labels))
    if isinstance(out, dict):
        out = out["sample"]
    return (out[0] if isinstance(out, tuple) else out).numpy()


class Stream:
    """tritonclient's stream, and what it calls back with."""

    def __init__(self, client, **options):
        self.client = client
        self.events = queue.Queue()
        client.start_stream(lambda result, error: self.events.put((result, error)), **options)

    def next(self):
        """A response, or an InferenceServerException."""
        result, error = self.events.get(timeout=CALL_TIMEOUT)
        return error if error is not None else result

    def of_one(self) -> list:
        """The responses to the one inference of the stream, to its last."""
        responses = []
        while not responses or not is_last(responses[-1]):
            responses.append(self.next())
            assert not isinstance(responses[-1], InferenceServerException), responses[-1]
        return responses


def is_last(result) -> bool:
    return result.get_response().parameters["triton_final_response"].bool_param


def failure_of(call) -> InferenceServerException:
    with pytest.raises(InferenceServerException) as caught:
        call()
    return caught.value


# What clients see of the server.


def fields_of(message) -> dict:
    return {
        field.name: (
            field.number,
            field.type,
            field.is_repeated,
            (field.message_type or field.enum_type).full_name if field.message_type or field.enum_type else None,
            field.containing_oneof.name if field.containing_oneof else None,
        )
        for field in message.fields
    }


def messages_in(file) -> dict:
    found = {}

    def add(message):
        found[message.full_name] = message
        for nested in message.nested_types:
            add(nested)

    for message in file.message_types_by_name.values():
        add(message)
    return found


def test_our_protocol_is_that_of_tritonclient(tmp_path):
    """Every message that we have is theirs in names, numbers and types; what they may send, in full."""
    path = tmp_path / "set"
    status = protoc.main(
        [
            "protoc",
            f"--proto_path={ROOT / 'proto'}",
            f"--descriptor_set_out={path}",
            "--include_imports",
            "inference/grpc_service.proto",
        ]
    )
    assert status == 0
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(path.read_bytes()).file:
        pool.Add(file)
    ours = {}
    for name in ("inference/grpc_service.proto", "inference/model_config.proto"):
        ours |= messages_in(pool.FindFileByName(name))
    theirs = messages_in(service_pb2.DESCRIPTOR) | messages_in(model_config_pb2.DESCRIPTOR)
    # Only told of, and only what means something here.
    partial = {name for name in ours if name in messages_in(model_config_pb2.DESCRIPTOR)}
    assert len(ours) > 50 and "inference.ModelConfig" in partial
    for name, message in ours.items():
        mine, their = fields_of(message), fields_of(theirs[name])
        if name in partial:
            their = {field: their.get(field) for field in mine}
        assert mine == their, name
        for enum in message.enum_types:
            assert {v.name: v.number for v in enum.values} == {
                v.name: v.number for v in theirs[name].enum_types_by_name[enum.name].values
            }
    types = pool.FindEnumTypeByName("inference.DataType").values
    assert {v.name: v.number for v in types} == dict(model_config_pb2.DataType.items())

    their_service = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    for method in pool.FindServiceByName("inference.GRPCInferenceService").methods:
        their = their_service.methods_by_name[method.name]
        assert method.input_type.full_name == their.input_type.full_name
        assert method.output_type.full_name == their.output_type.full_name
        assert (method.client_streaming, method.server_streaming) == (their.client_streaming, their.server_streaming)


def test_health_and_metadata(client):
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready("digits") and client.is_model_ready("digits.sample", "1")
    assert not client.is_model_ready("cats") and not client.is_model_ready("digits", "2")
    server = client.get_server_metadata()
    assert server.name == "denoised"
    assert {"model_configuration", "statistics", "system_shared_memory"} <= set(server.extensions)

    model = client.get_model_metadata("digits")
    assert (model.name, list(model.versions), model.platform) == ("digits", ["1"], "denoised")
    assert [(i.name, i.datatype, list(i.shape)) for i in model.inputs] == [
        ("x", "FP32", [-1, 1, 28, 28]),
        ("timestep", "FP32", [-1]),
        ("class_labels", "INT64", [-1]),
    ]
    assert [(o.name, o.datatype, list(o.shape)) for o in model.outputs] == [("out", "FP32", [-1, 1, 28, 28])]
    sampling = client.get_model_metadata("digits.sample", as_json=True)
    assert {"seed", "steps", "class_label", "guidance_scale", "sampler", "eta", "initial_noise", "every_n_steps"} <= {
        i["name"] for i in sampling["inputs"]
    }
    assert {o["name"] for o in sampling["outputs"]} == {
        "sample",
        "png",
        "x_t",
        "predicted_x_0",
        "sample_index",
        "step",
        "timestep",
    }


def test_configuration_and_index(client):
    denoiser = client.get_model_config("digits").config
    assert (denoiser.name, denoiser.platform, denoiser.max_batch_size) == ("digits", "denoised", 0)
    assert not denoiser.model_transaction_policy.decoupled
    assert list(denoiser.input[0].dims) == [-1, 1, 28, 28]
    assert denoiser.input[0].data_type == model_config_pb2.TYPE_FP32
    assert [i.optional for i in denoiser.input] == [False, False, True]
    assert denoiser.parameters["num_train_timesteps"].string_value == "1000"
    assert client.get_model_config("digits.sample").config.model_transaction_policy.decoupled

    index = client.get_model_repository_index()
    assert [(m.name, m.version, m.state) for m in index.models] == [
        ("digits", "1", "READY"),
        ("digits.sample", "1", "READY"),
    ]


# The denoiser itself.


def test_the_denoiser_answers_as_in_python(client, report):
    x, t = x_and_t(8, seed=1, times=(999, 500, 250.25, 3, 0))
    labels = np.arange(3, 11)  # the null class among them
    answer = client.infer("digits", [floats("x", x), floats("timestep", t), integers("class_labels", labels)])
    out = answer.as_numpy("out")
    assert out.shape == x.shape and out.dtype == np.float32
    error = np.abs(out - directly(x, t, labels)).max()
    report("worst error of an inference", f"{error:.1e}")
    assert error < 1e-5


def test_one_time_and_one_label_for_all_and_whole_times(client):
    x, _ = x_and_t(5)
    answer = client.infer(
        "digits",
        [floats("x", x), integers("timestep", [17]), integers("class_labels", [3])],
        request_id="mine",
        outputs=[triton.InferRequestedOutput("out")],
    )
    assert answer.get_response().id == "mine"
    expected = directly(x, np.full(5, 17, np.float32), np.full(5, 3))
    np.testing.assert_allclose(answer.as_numpy("out"), expected, atol=1e-5)


def test_typed_contents_are_as_good_as_raw_ones(client, stub):
    x, t = x_and_t(1)
    request = service_pb2.ModelInferRequest(model_name="digits")
    for name, datatype, values in (("x", "FP32", x), ("timestep", "FP32", t)):
        given = request.inputs.add(name=name, datatype=datatype, shape=values.shape)
        given.contents.fp32_contents.extend(values.ravel().tolist())
    labels = request.inputs.add(name="class_labels", datatype="INT64", shape=[1])
    labels.contents.int64_contents.append(4)
    typed = np.frombuffer(stub.ModelInfer(request, timeout=CALL_TIMEOUT).raw_output_contents[0], "<f4")
    raw = client.infer("digits", [floats("x", x), floats("timestep", t), integers("class_labels", [4])])
    np.testing.assert_array_equal(typed, raw.as_numpy("out").ravel())


def test_inferences_share_batches_with_chains(client, served):
    before = served.metrics()
    stream = Stream(client)
    for seed in range(8):
        client.async_stream_infer("digits.sample", sample_inputs(seed=seed, steps=40))
        client.async_stream_infer("digits", denoiser_inputs(4, seed=seed))
    for _ in range(16):
        result = stream.next()
        assert not isinstance(result, InferenceServerException), result
    client.stop_stream()
    rows = 8 * 40 * 2 + 8 * 4  # guided rows count twice
    # A tick is counted when its answers are on their way.
    after = served.until(lambda m: m.total("rows_total") - before.total("rows_total") == rows)
    assert rows / (after.total("batches_total") - before.total("batches_total")) > 4


class TwiceTheChannels(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = GaussianDenoiser()

    def forward(self, x, t):
        return torch.cat([100 * self.inner(x, t), x], dim=1)


def test_a_learned_variance_reaches_the_caller(start_server, tmp_path):
    folder = write_model(tmp_path / "learned", TwiceTheChannels(), (3, 8, 8))
    config = (folder / "scheduler_config.json").read_text()
    (folder / "scheduler_config.json").write_text(config.replace("fixed_small", "learned_range"))
    server = start_server(model=folder)
    x = np.random.default_rng(3).standard_normal((2, 3, 8, 8)).astype(np.float32)
    with triton.InferenceServerClient(server.address) as client:
        assert list(client.get_model_metadata("learned").outputs[0].shape) == [-1, 6, 8, 8]
        answer = client.infer("learned", [floats("x", x), integers("timestep", [999, 5])])
    with torch.inference_mode():
        expected = TwiceTheChannels()(torch.tensor(x), torch.tensor([999, 5])).numpy()
    # Far outside what a chain would be clipped to.
    assert np.abs(expected).max() > 50
    np.testing.assert_allclose(answer.as_numpy("out"), expected, rtol=1e-5, atol=1e-5)


def test_conditions_are_inputs(start_server, tmp_path):
    class Conditioned(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = GaussianDenoiser()

        def forward(self, x, t, style, timestep):
            return self.inner(x, t) + (style.sum(1) + timestep.float()).view(-1, 1, 1, 1)

    folder = write_model(
        tmp_path / "conditioned",
        Conditioned(),
        (1, 4, 4),
        inputs=[
            dict(name="style", kind="condition", dtype="float32", shape=[3], null=0),
            dict(name="timestep", kind="condition", dtype="int64", shape=[]),
        ],
    )
    server = start_server(model=folder)
    x = np.random.default_rng(3).standard_normal((2, 1, 4, 4)).astype(np.float32)
    style = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    with triton.InferenceServerClient(server.address) as client:
        answer = client.infer(
            "conditioned",
            [floats("x", x), integers("timestep", [7]), floats("style", style), integers("condition_timestep", [2])],
        )
        sampled = client.infer(
            "conditioned.sample",
            [floats("style", style[:1]), integers("timestep", [2]), made("seed", np.array([5], np.uint64), "UINT64")],
        )
        missing = failure_of(lambda: client.infer("conditioned", [floats("x", x), integers("timestep", [7])]))
    with torch.inference_mode():
        expected = Conditioned()(torch.tensor(x), torch.tensor([7, 7]), torch.tensor(style), torch.tensor([2, 2]))
    np.testing.assert_allclose(answer.as_numpy("out"), expected.numpy(), atol=1e-5)
    same = sample(
        server.stub, seed=5, conditions=dict(style=tensor(style[:1]), timestep=tensor(np.array([2], np.int64)))
    )
    np.testing.assert_array_equal(sampled.as_numpy("sample"), same.samples)
    assert 'inputs: "timestep" is left out' in missing.message()


# Samples.


@pytest.mark.parametrize(
    ("sampler", "changes"),
    [(b"ddim", dict(eta=0.5)), (b"ddpm", {}), (b"dpmpp_2m", dict(guidance_rescale=0.5)), (b"euler_ancestral", {})],
)
def test_samples_have_the_bits_of_the_api(client, served, sampler, changes):
    inputs = sample_inputs(seed=11, label=(7, 3, 10), sampler=sampler, guidance_scale=2.5, **changes)
    got = client.infer("digits.sample", inputs)
    options = dict(kind=f"KIND_{sampler.decode().upper()}", steps=6)
    if "eta" in changes:
        options["eta"] = changes.pop("eta")
    expected = sample(
        served.stub, seed=11, num_samples=3, class_labels=[7, 3, 10], guidance_scale=2.5, sampler=options, **changes
    )
    np.testing.assert_array_equal(got.as_numpy("sample"), expected.samples)
    assert got.get_response().parameters["seed"].uint64_param == 11
    assert list(got.get_response().raw_output_contents) == [expected.samples.tobytes()]


def test_initial_noise_and_pictures(client, served):
    noise = np.random.default_rng(5).standard_normal((2, 1, 28, 28)).astype(np.float32)
    outputs = [triton.InferRequestedOutput("png")]
    got = client.infer("digits.sample", [floats("initial_noise", noise), *sample_inputs()], outputs=outputs)
    expected = sample(
        served.stub,
        num_samples=2,
        class_labels=[7],
        sampler=dict(kind="KIND_DDIM", steps=6),
        initial_noise=tensor(noise),
        encoding=pb.ENCODING_PNG,
    )
    assert list(got.as_numpy("png")) == list(expected.result.pngs)
    assert got.as_numpy("sample") is None


def test_a_seed_that_the_server_picks_is_said(client):
    inputs = [i for i in sample_inputs() if i.name() != "seed"]
    first = client.infer("digits.sample", inputs)
    seed = first.get_response().parameters["seed"].uint64_param
    again = client.infer("digits.sample", sample_inputs(seed=seed))
    np.testing.assert_array_equal(first.as_numpy("sample"), again.as_numpy("sample"))


def test_states_are_those_of_the_api(client, served):
    stream = Stream(client)
    client.async_stream_infer(
        "digits.sample", sample_inputs(label=(7, 3)), request_id="a", parameters={"every_n_steps": 2}
    )
    *states, last = stream.of_one()
    client.stop_stream()
    expected = sample(
        served.stub,
        seed=7,
        num_samples=2,
        class_labels=[7, 3],
        sampler=dict(kind="KIND_DDIM", steps=6),
        states=dict(every_n_steps=2, content=[pb.CONTENT_X_T, pb.CONTENT_PREDICTED_X_0]),
    )
    assert len(states) == 2 * 3 * 2
    for content, kind in (("x_t", pb.CONTENT_X_T), ("predicted_x_0", pb.CONTENT_PREDICTED_X_0)):
        for index in (0, 1):
            got = {
                int(r.as_numpy("step")[0]): r.as_numpy(content)[0]
                for r in states
                if r.as_numpy(content) is not None and r.as_numpy("sample_index")[0] == index
            }
            wanted = expected.states_of(index, kind)
            assert list(got) == list(wanted) == [2, 4, 6]
            for step, values in wanted.items():
                np.testing.assert_array_equal(got[step], values)
    assert all(not is_last(r) and r.get_response().id == "a" for r in states)
    np.testing.assert_array_equal(last.as_numpy("sample"), expected.samples)


def test_the_number_of_steps_as_an_input(client):
    stream = Stream(client)
    outputs = [triton.InferRequestedOutput("step")]
    every = made("every_n_steps", np.array([3], np.uint32), "UINT32")
    client.async_stream_infer("digits.sample", [*sample_inputs(), every], outputs=outputs)
    *states, last = stream.of_one()
    client.stop_stream()
    assert [int(r.as_numpy("step")[0]) for r in states] == [3, 6]
    assert len(last.get_response().outputs) == 0


# Streams.


def test_many_inferences_on_one_stream(client):
    stream = Stream(client)
    client.async_stream_infer("digits.sample", sample_inputs(steps=100), request_id="long")
    for i in range(20):
        client.async_stream_infer("digits", denoiser_inputs(1, seed=i), request_id=str(i))
    client.async_stream_infer("cats", [], request_id="bad")
    ids, errors = [], []
    for _ in range(22):
        result = stream.next()
        if isinstance(result, InferenceServerException):
            errors.append(result.message())
        else:
            assert is_last(result)
            ids.append(result.get_response().id)
    client.stop_stream()
    assert sorted(ids) == sorted(["long", *map(str, range(20))])
    assert ids[-1] == "long"  # which nobody waited for
    assert len(errors) == 1 and '"cats" is not served here' in errors[0]


def test_cancelling_a_stream_frees_its_chains(client, served):
    before = served.metrics()
    stream = Stream(client)
    for seed in range(3):
        client.async_stream_infer(
            "digits.sample", sample_inputs(seed=seed, label=[7] * 8, steps=1000), parameters={"every_n_steps": 1}
        )
    assert not is_last(stream.next())
    client.stop_stream(cancel_requests=True)
    served.until_idle(within=2)
    served.until_counted(3, before, method="ModelStreamInfer", code="CANCELLED")


def test_deadlines(client, served):
    late = failure_of(
        lambda: client.infer("digits.sample", sample_inputs(label=[7] * 64, steps=1000), client_timeout=0.5)
    )
    assert late.status() in ("StatusCode.DEADLINE_EXCEEDED", "StatusCode.RESOURCE_EXHAUSTED")
    served.until_idle(within=2)
    # Half a second, in microseconds.
    late = failure_of(lambda: client.infer("digits.sample", sample_inputs(label=[7] * 64, steps=1000), timeout=500_000))
    assert late.status() in ("StatusCode.DEADLINE_EXCEEDED", "StatusCode.RESOURCE_EXHAUSTED")
    served.until_idle(within=2)


def test_draining(start_server):
    server = start_server()
    with triton.InferenceServerClient(server.address) as client:
        stream = Stream(client)
        client.async_stream_infer(
            "digits.sample", sample_inputs(label=[7] * 4, steps=200, guidance_scale=1), parameters={"every_n_steps": 10}
        )
        assert not is_last(stream.next())
        server.signal(signal.SIGTERM)
        server.until(lambda m: not client.is_server_ready(), what="the server is not ready")
        refused = failure_of(lambda: client.infer("digits", denoiser_inputs()))
        assert refused.status() == "StatusCode.UNAVAILABLE"
        assert is_last(stream.of_one()[-1])
        client.stop_stream()
    assert server.wait(within=10) == 0


# Statistics.


def test_statistics(client, served):
    def of(name):
        [stats] = client.get_inference_statistics(name).model_stats
        return stats

    before, before_sampling = of("digits"), of("digits.sample")
    for _ in range(3):
        client.infer("digits", denoiser_inputs(2))
    failure_of(lambda: client.infer("digits", []))
    client.infer("digits.sample", sample_inputs(label=(1, 2)))
    served.until(
        lambda m: of("digits.sample").inference_stats.success.count - before_sampling.inference_stats.success.count == 1
    )
    after, sampling = of("digits"), of("digits.sample")
    success, was = after.inference_stats.success, before.inference_stats.success
    assert success.count - was.count == 3
    parts = ("queue", "compute_input", "compute_infer", "compute_output")
    for part in parts:
        assert getattr(after.inference_stats, part).count - getattr(before.inference_stats, part).count == 3
    assert success.ns - was.ns >= sum(
        getattr(after.inference_stats, p).ns - getattr(before.inference_stats, p).ns for p in parts
    )
    assert after.inference_stats.fail.count - before.inference_stats.fail.count == 1
    assert sampling.inference_count - before_sampling.inference_count == 2
    assert sampling.execution_count - before_sampling.execution_count == 1
    metrics = served.metrics()
    assert after.inference_count == metrics.total("rows_total")
    assert after.execution_count == metrics.total("batches_total")
    assert {s.name for s in client.get_inference_statistics().model_stats} == {"digits", "digits.sample"}


# Errors.


# One of each kind; tests/unit/rpc/inference has them all.
BAD = {
    "no model": ("cats", denoiser_inputs, "NOT_FOUND", '"cats" is not served here'),
    "no time": ("digits", lambda: denoiser_inputs()[:1], "INVALID_ARGUMENT", 'inputs["timestep"]: missing'),
    "another type": (
        "digits",
        lambda: [made("x", np.zeros((1, 1, 28, 28), np.float64), "FP64"), floats("timestep", [1])],
        "INVALID_ARGUMENT",
        'inputs["x"].datatype: "FP64" is not',
    ),
    "steps": (
        "digits.sample",
        lambda: sample_inputs(steps=1001),
        "INVALID_ARGUMENT",
        'inputs["steps"]: 1001 is not in 1..1000',
    ),
    "an option that does nothing": (
        "digits.sample",
        lambda: sample_inputs(sampler=b"heun", eta=0.5),
        "INVALID_ARGUMENT",
        'inputs["eta"]',
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_errors(client, case):
    model, inputs, code, says = BAD[case]
    failure = failure_of(lambda: client.infer(model, inputs()))
    assert failure.status() == f"StatusCode.{code}"
    assert says in failure.message()
    # In a stream the same message, and the stream goes on.
    stream = Stream(client)
    client.async_stream_infer(model, inputs())
    client.async_stream_infer("digits", denoiser_inputs())
    first, second = stream.next(), stream.next()
    client.stop_stream()
    if not isinstance(first, InferenceServerException):
        first, second = second, first
    assert first.message() == failure.message()
    assert second.as_numpy("out").shape == (3, 1, 28, 28)


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda c: c.infer("digits", denoiser_inputs(), model_version="one"), "INVALID_ARGUMENT"),
        (lambda c: c.infer("digits", denoiser_inputs(), model_version="2"), "NOT_FOUND"),
        (lambda c: c.infer("digits", denoiser_inputs(), priority=1), "INVALID_ARGUMENT"),
        (lambda c: c.infer("digits", denoiser_inputs(), sequence_id=5), "INVALID_ARGUMENT"),
        (lambda c: c.infer("digits", denoiser_inputs(), parameters={"cats": 1}), "INVALID_ARGUMENT"),
        (
            lambda c: c.infer("digits", denoiser_inputs(), outputs=[triton.InferRequestedOutput("y")]),
            "INVALID_ARGUMENT",
        ),
        (
            lambda c: c.infer("digits", denoiser_inputs(), outputs=[triton.InferRequestedOutput("out", 3)]),
            "INVALID_ARGUMENT",
        ),
        (lambda c: c.infer("digits.sample", sample_inputs(), parameters={"every_n_steps": 1}), "INVALID_ARGUMENT"),
        (lambda c: c.get_model_metadata("cats"), "NOT_FOUND"),
        (lambda c: c.get_model_config("cats"), "NOT_FOUND"),
        (lambda c: c.get_inference_statistics("cats"), "NOT_FOUND"),
        (lambda c: c.load_model("digits"), "UNIMPLEMENTED"),
        (lambda c: c.get_trace_settings(), "UNIMPLEMENTED"),
    ],
)
def test_other_errors(client, call, code):
    assert failure_of(lambda: call(client)).status() == f"StatusCode.{code}"


def hostile(shape, size, datatype="FP32", name="x"):
    request = service_pb2.ModelInferRequest(model_name="digits")
    request.inputs.add(name=name, datatype=datatype, shape=shape)
    request.raw_input_contents.append(bytes(size))
    return request


@pytest.mark.parametrize(
    "request_",
    [
        hostile([2**62, 4, 28, 28], 0),
        hostile([1] * 10_000, 4),
        hostile([1], 4, name="\x00\x1b[31m"),
        hostile([1], 4, datatype="x" * 10_000),
        hostile([2**63 - 1], 4, datatype="BYTES"),
    ],
    ids=range(5),
)
def test_hostile_tensors(served, stub, request_):
    before = served.rss_bytes()
    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelInfer(request_, timeout=20)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "\x1b" not in caught.value.details() and len(caught.value.details()) <= 512
    assert served.rss_bytes() - before < 16 << 20
    assert served.running


def test_messages_have_their_limit(start_server):
    server = start_server("--max-message-bytes", "64K")
    with triton.InferenceServerClient(server.address) as client:
        too_large = failure_of(lambda: client.infer("digits", denoiser_inputs(64)))
        assert too_large.status() == "StatusCode.RESOURCE_EXHAUSTED"
        answer = failure_of(lambda: client.infer("digits.sample", sample_inputs(label=[7] * 64)))
        assert answer.status() == "StatusCode.INVALID_ARGUMENT"
        assert client.infer("digits", denoiser_inputs(16)).as_numpy("out").shape[0] == 16


# Shared memory.


@pytest.fixture
def regions(client):
    """regions(name, bytes): a region, made and registered."""
    handles = []

    def make(name: str, size: int):
        key = f"/denoise-{uuid.uuid4().hex}"
        handle = shared_memory.create_shared_memory_region(name, key, size)
        handles.append(handle)
        client.register_system_shared_memory(name, key, size)
        return handle, key

    yield make
    client.unregister_system_shared_memory()
    for handle in handles:
        shared_memory.destroy_shared_memory_region(handle)


def test_tensors_in_shared_memory(client, regions):
    x, t = x_and_t(3)
    source, _ = regions("source", 2 * x.nbytes)
    target, _ = regions("target", 2 * x.nbytes)
    shared_memory.set_shared_memory_region(source, [x], offset=x.nbytes)
    status = client.get_system_shared_memory_status().regions
    assert {r.name: r.byte_size for r in status.values()} == {"source": 2 * x.nbytes, "target": 2 * x.nbytes}
    given = triton.InferInput("x", list(x.shape), "FP32")
    given.set_shared_memory("source", x.nbytes, offset=x.nbytes)
    wanted = triton.InferRequestedOutput("out")
    wanted.set_shared_memory("target", x.nbytes, offset=64)
    answer = client.infer("digits", [given, floats("timestep", t)], outputs=[wanted])
    said = answer.get_output("out")
    assert said.parameters["shared_memory_region"].string_param == "target"
    assert answer.get_response().raw_output_contents[0] == b""
    by_message = client.infer("digits", [floats("x", x), floats("timestep", t)])
    np.testing.assert_array_equal(
        shared_memory.get_contents_as_numpy(target, np.float32, x.shape, offset=64), by_message.as_numpy("out")
    )
    sampled = triton.InferRequestedOutput("sample")
    sampled.set_shared_memory("target", 784 * 4)
    client.infer("digits.sample", sample_inputs(), outputs=[sampled])
    np.testing.assert_array_equal(
        shared_memory.get_contents_as_numpy(target, np.float32, (1, 1, 28, 28)),
        client.infer("digits.sample", sample_inputs()).as_numpy("sample"),
    )


def test_shared_memory_that_is_taken_away(client, regions, served):
    x, t = x_and_t(3)
    _, key = regions("source", x.nbytes)
    _, small = regions("small", 100)
    given = triton.InferInput("x", list(x.shape), "FP32")
    given.set_shared_memory("source", x.nbytes)
    wanted = triton.InferRequestedOutput("out")
    wanted.set_shared_memory("small", 100)
    failure = failure_of(lambda: client.infer("digits", [floats("x", x), floats("timestep", t)], outputs=[wanted]))
    assert "more than the 100 of its shared memory" in failure.message()
    wanted.set_shared_memory("small", 101)
    failure = failure_of(lambda: client.infer("digits", [floats("x", x), floats("timestep", t)], outputs=[wanted]))
    assert "101 bytes at 0 are not within the 100" in failure.message()

    with open(f"/dev/shm{key}", "r+b") as file:
        os.ftruncate(file.fileno(), 10)
    failure = failure_of(lambda: client.infer("digits", [given, floats("timestep", t)]))
    assert "has become smaller" in failure.message()
    client.unregister_system_shared_memory("source")
    failure = failure_of(lambda: client.infer("digits", [given, floats("timestep", t)]))
    assert failure.status() == "StatusCode.NOT_FOUND"
    for name, bad_key, size in (("a", "/not-there", 8), ("a", "/../etc/passwd", 8), ("a", small, 101)):
        failure_of(lambda: client.register_system_shared_memory(name, bad_key, size))
    assert served.running


def test_shared_memory_is_off_unless_asked_for(server):
    with triton.InferenceServerClient(server.address) as client:
        failure = failure_of(lambda: client.register_system_shared_memory("a", "/a", 8))
        assert "--shared-memory" in failure.message()
        assert "system_shared_memory" not in client.get_server_metadata().extensions


# The documentation.


def test_the_example_of_the_documentation(served):
    text = (ROOT / "docs" / "open_inference.md").read_text()
    [code] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    [says] = re.findall(r"```text\n(.*?)```", text, re.DOTALL)
    assert "127.0.0.1:8500" in code
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code.replace("127.0.0.1:8500", served.address), "open_inference.md", "exec"), {})
    assert printed.getvalue() == says
