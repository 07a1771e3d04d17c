"""The log: objects a line with --log-format json, one for every call, by which a call is found again."""

import json
import re
import signal

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import np_to_triton_dtype

from harness.api import pb, sample
from harness.errors import failing
from harness.server import ONE_ENGINE
from harness.waiting import eventually

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


def objects(server) -> list[dict]:
    """Every line of its log."""
    return [json.loads(line) for line in server.stderr.splitlines()]


JSON = ("--log-format", "json", *ONE_ENGINE, "--batch-sizes", "1,4")


@pytest.fixture(scope="module")
def logging_server(start_shared_server):
    return start_shared_server(*JSON, "--tenant-by", "metadata")


def line_of(server, request_id: str) -> dict:
    """The line of that call, which is written when gRPC is done with it."""

    def look():
        found = [line for line in objects(server) if line.get("id") == request_id]
        return found[0] if found else None

    return eventually(look, what=f"the line of {request_id}")


def test_every_line_is_an_object(start_server):
    server = start_server(*JSON)
    sample(server.stub, seed=1, sampler=dict(steps=2))
    failing(server.stub.Sample, pb.SampleRequest(model='c"\n}{'), timeout=10)
    server.close()
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    lines = objects(server)
    assert {line["level"] for line in lines} == {"info"}
    assert all(TIME.fullmatch(line["time"]) for line in lines)
    messages = [line["message"] for line in lines]
    assert messages.count("request") == 2
    assert messages[-1] == "stopped"


def test_a_call_is_found_by_its_id(logging_server):
    metadata = [("x-request-id", "order-66"), ("traceparent", TRACEPARENT), ("denoise-tenant", "them")]
    sample(logging_server.stub, metadata=metadata, num_samples=2, seed=1, sampler=dict(steps=3))
    line = line_of(logging_server, "order-66")
    assert {
        "message": "request",
        "level": "info",
        "method": "Sample",
        "model": "digits",
        "code": "OK",
        "trace_id": TRACE,
        "tenant": "them",
        "samples": 2,
        "steps": 3,
    }.items() <= line.items()
    assert line["rows"] >= 2 * 3  # twice that where it is guided
    assert 0 <= line["queue_seconds"] <= line["seconds"] < 60
    assert "error" not in line


def inference(model: str, **inputs: np.ndarray) -> service_pb2.ModelInferRequest:
    request = service_pb2.ModelInferRequest(model_name=model)
    for name, values in inputs.items():
        request.inputs.add(name=name, datatype=np_to_triton_dtype(values.dtype), shape=values.shape)
        request.raw_input_contents.append(values.tobytes())
    return request


def test_inferences_have_the_same_lines(logging_server):
    stub = service_pb2_grpc.GRPCInferenceServiceStub(logging_server.channel)
    metadata = [("traceparent", TRACEPARENT), ("denoise-tenant", "them")]
    steps = np.array([3], np.uint32)
    x = np.zeros((2, 1, 28, 28), np.float32)
    sampling = inference("digits.sample", steps=steps)
    stub.ModelInfer(sampling, metadata=[("x-request-id", "one"), *metadata], timeout=30)
    list(stub.ModelStreamInfer(iter([sampling]), metadata=[("x-request-id", "many"), *metadata], timeout=30))
    denoiser = inference("digits", x=x, timestep=np.array([5, 6], np.float32))
    stub.ModelInfer(denoiser, metadata=[("x-request-id", "rows"), *metadata], timeout=30)
    same = {"message": "request", "model": "digits", "code": "OK", "trace_id": TRACE, "tenant": "them"}
    for request_id, method, samples, steps in (
        ("one", "ModelInfer", 1, 3),
        ("many", "ModelStreamInfer", 1, 3),
        ("rows", "ModelInfer", 2, 1),
    ):
        line = line_of(logging_server, request_id)
        assert (same | {"method": method, "samples": samples}).items() <= line.items()
        assert line["rows"] >= samples * steps
        assert 0 <= line["queue_seconds"] <= line["seconds"] < 60

    bad = inference("digits", x=x)
    refused = [("x-request-id", "none"), *metadata]
    assert failing(stub.ModelInfer, bad, metadata=refused, timeout=30).code == grpc.StatusCode.INVALID_ARGUMENT
    line = line_of(logging_server, "none")
    assert (line["code"], line["trace_id"], line["tenant"]) == ("INVALID_ARGUMENT", TRACE, "them")
    assert "timestep" in line["error"] and "queue_seconds" not in line and "rows" not in line
    # And what only asks.
    live = service_pb2.ServerLiveRequest()
    stub.ServerLive(live, metadata=[("x-request-id", "live"), *metadata], timeout=30)
    assert line_of(logging_server, "live")["trace_id"] == TRACE


def test_a_refusal_says_why(logging_server):
    failing(
        logging_server.stub.Sample,
        pb.SampleRequest(num_samples=1000),
        timeout=10,
        metadata=[("x-request-id", "too-many"), ("traceparent", "rubbish")],
    )
    line = line_of(logging_server, "too-many")
    assert line["code"] == "INVALID_ARGUMENT" and line["reason"] == "INVALID_FIELD"
    assert "num_samples" in line["error"]
    assert "trace_id" not in line and "tenant" not in line and "queue_seconds" not in line and "rows" not in line


def test_answers_carry_the_id(logging_server):
    stub = logging_server.stub
    call = stub.Sample(pb.SampleRequest(seed=1, sampler=dict(steps=1)), timeout=30)
    accepted = next(event for event in call if event.HasField("accepted")).accepted
    list(call)
    made = dict(call.trailing_metadata())["x-request-id"]
    assert accepted.request_id == made and re.fullmatch("[0-9a-f]{32}", made)
    assert line_of(logging_server, made)["method"] == "Sample"

    metadata = [("x-request-id", "which")]
    _, unary = stub.GetModel.with_call(pb.GetModelRequest(), timeout=10, metadata=metadata)
    assert dict(unary.trailing_metadata())["x-request-id"] == "which"

    refused = stub.Sample(pb.SampleRequest(num_samples=1000), timeout=10)
    with pytest.raises(grpc.RpcError):
        list(refused)
    request_id = dict(refused.trailing_metadata())["x-request-id"]
    # gRPC retries a refusal only where nothing came before it, initial metadata neither.
    assert not refused.initial_metadata()
    assert line_of(logging_server, request_id)["code"] == "INVALID_ARGUMENT"


def test_ids_that_do_not_fit_are_refused_and_not_echoed(logging_server):
    call = logging_server.stub.Sample(pb.SampleRequest(), timeout=10, metadata=[("x-request-id", "two words")])
    with pytest.raises(grpc.RpcError) as refused:
        list(call)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert re.fullmatch("[0-9a-f]{32}", dict(call.trailing_metadata())["x-request-id"])


def test_text_is_a_line_a_call(start_server):
    server = start_server(*ONE_ENGINE, "--batch-sizes", "1,4")
    sample(server.stub, metadata=[("x-request-id", "plain")], seed=1, sampler=dict(steps=2))
    line = eventually(lambda: next((line for line in server.stderr.splitlines() if "id=plain" in line), None))
    assert TIME.match(line)
    assert " info request id=plain method=Sample model=digits code=OK samples=1 steps=2 rows=" in line


def test_why_it_does_not_start_is_an_object_too(start_process):
    process = start_process("--model", "/nowhere", "--log-format", "json")
    assert process.wait(within=30) != 0
    (line,) = objects(process)
    assert line["level"] == "critical" and "/nowhere" in line["message"]


def test_warnings_only(start_server):
    server = start_server("--log-format", "json", "--log-level", "warn", *ONE_ENGINE, "--batch-sizes", "1,4")
    before = server.metrics()
    sample(server.stub, seed=1, sampler=dict(steps=2))
    server.until_counted(1, before, method="Sample")
    server.stop()
    assert server.stderr == ""
