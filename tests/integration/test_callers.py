"""Callers who want more than their share, or what is others': each test is an attack."""

import re
import subprocess
import urllib.error
import urllib.request
import uuid

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import shared_memory

from harness.access import bearer, entry, secure_channel, tls_flags, write_tokens
from harness.api import CALL_TIMEOUT, Outcome, next_of, pb, pb_grpc, sample
from harness.certificates import Authority
from harness.errors import failing
from harness.metrics import Metrics
from harness.paths import DENOISED, clean_environment
from harness.server import ONE_ENGINE
from harness.waiting import eventually

DENIED = grpc.StatusCode.PERMISSION_DENIED
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
SHORT = dict(seed=1, guidance_scale=1, sampler=dict(kind="KIND_DDIM", steps=4))
LONG = dict(seed=1, guidance_scale=1, sampler=dict(kind="KIND_DDIM", steps=1000))
ADMIN = re.compile(r"ModelAdmin on (\S+)")


def call(stub, metadata, **fields):
    return stub.Sample(pb.SampleRequest(**fields), metadata=metadata, timeout=CALL_TIMEOUT)


# --- Without credentials.


def test_nobody_is_another_tenant_in_every_call(server):
    for name in ("one", "two", "three"):
        failure = failing(call, server.stub, [("denoise-tenant", name)], **SHORT)
        assert failure.code == DENIED
        assert f'"{name}"' in failure.violations["denoise-tenant"] and "--tenant-by" in failure.message


def test_nobody_goes_first_because_he_says_so(server):
    failure = failing(call, server.stub, None, priority=100, **SHORT)
    assert failure.code == DENIED
    assert failure.violations == {"priority": "100 is above 0, the highest that this caller may ask for"}
    assert sample(server.stub, priority=-100, **SHORT).result


def test_an_address_is_one_tenant_over_any_connection(start_server):
    server = start_server(
        *ONE_ENGINE,
        "--batch-sizes",
        "1,4",
        "--listen",
        "0.0.0.0:0",
        "--max-active",
        "1",
        "--tenant-by",
        "address",
        "--max-waiting-per-tenant",
        "2",
    )
    assert "asks for no credentials" in server.stderr and "without TLS" in server.stderr
    held = [call(server.new_stub(), None, **LONG)]
    server.until_busy()
    held += [call(server.new_stub(), None, **LONG) for _ in range(2)]
    for stream in held:
        next_of(stream, "accepted")
    failure = failing(call, server.new_stub(), None, **SHORT)
    assert (failure.code, failure.reason) == (EXHAUSTED, "QUOTA_EXCEEDED")
    assert "2 of its requests wait" in failure.message and failure.retry_seconds > 0
    for stream in held:
        stream.cancel()


def test_a_server_of_this_machine_alone_warns_of_nothing(server):
    assert "other machines reach it" not in server.stderr


# --- With them.


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"), "Our root")


ENTRIES = (
    entry("mallory", "mallory-token", max_active_chains=2, max_waiting_requests=3),
    entry("alice", "alice-token", max_priority=10),
    entry("metered", "metered-token", rows_per_second=0.01, burst_rows=4, max_call_seconds=600),
    entry("gateway", "gateway-token", may_name_tenant=True, max_waiting_requests=1),
    entry("operator", "operator-token", scopes=["admin"]),
    entry("prometheus", "prometheus-token", scopes=["metrics"]),
    entry("carol", san="carol.example", max_priority=5),
)


class Guarded:
    """A server that knows its callers, with room for four chains at a time."""

    def __init__(self, start, folder, authority):
        self.authority = authority
        self.client = authority.issue("client", "DNS:unknown.example")
        self.carol = authority.issue("carol", "DNS:carol.example")
        pair = authority.issue("server", "IP:127.0.0.1")
        self.server = start(
            *ONE_ENGINE,
            "--batch-sizes",
            "1,4",
            "--max-active",
            "4",
            "--shared-memory",
            "--admin-listen",
            "127.0.0.1:0",
            "--metrics-listen",
            "127.0.0.1:0",
            *tls_flags(pair),
            "--tls-client-ca",
            str(authority.certificate),
            "--token-file",
            str(write_tokens(folder / "tokens", *ENTRIES)),
        )
        self.channel = self.connect(self.client)
        self.stub = pb_grpc.DiffusionStub(self.channel)

    def connect(self, pair, address: str = "") -> grpc.Channel:
        return secure_channel(address or self.server.address, self.authority, pair)

    def metrics(self) -> Metrics:
        return Metrics(scrape(self.server.metrics_address, "prometheus-token"))


def scrape(address: str, token: str = "") -> str:
    request = urllib.request.Request(f"http://{address}/metrics")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read().decode()


@pytest.fixture(scope="module")
def guarded(start_shared_server, tmp_path_factory, authority):
    guarded = Guarded(start_shared_server, tmp_path_factory.mktemp("guarded"), authority)
    with guarded.channel:
        yield guarded


def test_nobody_has_more_chains_active_than_he_may(guarded):
    """Mallory's 24 long chains would fill the server; Alice's short one runs before they have ended."""
    floods = [call(guarded.stub, bearer("mallory-token"), num_samples=8, **LONG) for _ in range(3)]
    try:
        for flood in floods:
            next_of(flood, "accepted")
        assert Outcome.of(call(guarded.stub, bearer("alice-token"), **SHORT)).result
        metrics = guarded.metrics()
        assert metrics.total("tenant_chains_active", tenant="mallory") == 2
        assert metrics.total("tenant_requests_waiting", tenant="mallory") == 3
        failure = failing(call, guarded.stub, bearer("mallory-token"), **SHORT)
        assert (failure.code, failure.reason) == (EXHAUSTED, "QUOTA_EXCEEDED")
        assert failure.retry_seconds > 0
    finally:
        for flood in floods:
            flood.cancel()
    eventually(lambda: guarded.metrics().total("chains_active") == 0, what="the floods are over")


def test_a_new_tenant_in_every_call_beats_no_limit(guarded):
    for i in range(5):
        failure = failing(call, guarded.stub, bearer("mallory-token", denoise_tenant=f"new-{i}"), **SHORT)
        assert failure.code == DENIED and "denoise-tenant" in failure.violations
    # A gateway may name tenants, and each has limits of its own.
    held = [call(guarded.stub, bearer("gateway-token", denoise_tenant=name), num_samples=8, **LONG) for name in "ab"]
    for stream in held:
        next_of(stream, "accepted")
    failure = failing(call, guarded.stub, bearer("gateway-token", denoise_tenant="b"), **SHORT)
    assert failure.reason == "QUOTA_EXCEEDED"
    for stream in held:
        stream.cancel()
    labels = {s.labels["tenant"] for s in guarded.metrics().families["denoise_tenant_chains_active"].samples}
    assert labels == {"", *(e["name"] for e in ENTRIES)}, "no tenant that a caller made up"


def test_rows_a_second(guarded):
    assert Outcome.of(call(guarded.stub, bearer("metered-token"), **SHORT)).result.denoiser_rows == 4
    failure = failing(call, guarded.stub, bearer("metered-token"), **SHORT)
    assert (failure.code, failure.reason) == (EXHAUSTED, "QUOTA_EXCEEDED")
    assert "needs 4 denoiser rows" in failure.message
    assert 300 < failure.retry_seconds <= 400, "when four rows have come back"
    failure = failing(guarded.stub.Sample, pb.SampleRequest(**SHORT), metadata=bearer("metered-token"), timeout=3600)
    assert failure.code == DENIED and "than the 10m that" in failure.violations["deadline"]


def test_a_priority_is_what_the_credential_allows(guarded):
    assert Outcome.of(call(guarded.stub, bearer("alice-token"), priority=10, **SHORT)).result
    failure = failing(call, guarded.stub, bearer("alice-token"), priority=11, **SHORT)
    assert failure.code == DENIED and "11 is above 10" in failure.violations["priority"]
    with guarded.connect(guarded.carol) as to:
        failure = failing(call, pb_grpc.DiffusionStub(to), None, priority=6, **SHORT)
        assert failure.code == DENIED and "6 is above 5" in failure.violations["priority"], "by her certificate"
        assert Outcome.of(call(pb_grpc.DiffusionStub(to), None, priority=5, **SHORT)).result
    failure = failing(call, guarded.stub, None, **SHORT)
    assert failure.code == grpc.StatusCode.UNAUTHENTICATED, "a certificate of nobody in the file"


def test_only_an_operator_loads_models(guarded):
    address = ADMIN.search(guarded.server.stderr)[1]
    request = pb.UnloadModelRequest(model="digits")
    with guarded.connect(guarded.client, address) as to:
        unload = pb_grpc.ModelAdminStub(to).UnloadModel
        assert failing(unload, request, timeout=10).code == grpc.StatusCode.UNAUTHENTICATED
        failure = failing(unload, request, metadata=bearer("alice-token"), timeout=10)
        assert failure.code == DENIED and "alice has not the scope admin" in failure.message
        missing = pb.UnloadModelRequest(model="missing")
        failure = failing(unload, missing, metadata=bearer("operator-token"), timeout=10)
        assert failure.code == grpc.StatusCode.NOT_FOUND
    assert failing(call, guarded.stub, bearer("operator-token"), **SHORT).code == DENIED, "nor does he sample"
    with grpc.insecure_channel(address) as to:
        plain = failing(pb_grpc.ModelAdminStub(to).UnloadModel, request, timeout=10)
        assert plain.code == grpc.StatusCode.UNAVAILABLE
    lines = [line for line in guarded.server.stderr.splitlines() if " admin id=" in line]
    codes = [re.search(r"code=(\w+)", line)[1] for line in lines]
    assert codes == ["PERMISSION_DENIED", "NOT_FOUND"]
    assert "principal=operator" in lines[-1] and "method=UnloadModel model=missing" in lines[-1]
    assert re.search(r"peer=ipv4:127\.0\.0\.1:\d+", lines[-1])


def test_only_who_may_scrapes(guarded):
    for token in ("", "alice-token", "wrong"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            scrape(guarded.server.metrics_address, token)
        assert refused.value.code == 401
    assert "denoise_requests_total" in scrape(guarded.server.metrics_address, "prometheus-token")
    assert failing(call, guarded.stub, bearer("prometheus-token"), **SHORT).code == DENIED


def test_shared_memory_is_of_its_tenant(guarded):
    triton = service_pb2_grpc.GRPCInferenceServiceStub(guarded.channel)
    key = f"/alice.{uuid.uuid4().hex}"
    handle = shared_memory.create_shared_memory_region("hers", key, 3136)
    try:

        def register(token, name):
            request = service_pb2.SystemSharedMemoryRegisterRequest(name=name, key=key, byte_size=3136)
            return triton.SystemSharedMemoryRegister(request, metadata=bearer(token), timeout=10)

        def regions(token, name=""):
            request = service_pb2.SystemSharedMemoryStatusRequest(name=name)
            return triton.SystemSharedMemoryStatus(request, metadata=bearer(token), timeout=10).regions

        def unregister(token, name=""):
            request = service_pb2.SystemSharedMemoryUnregisterRequest(name=name)
            triton.SystemSharedMemoryUnregister(request, metadata=bearer(token), timeout=10)

        def infer(token):
            request = service_pb2.ModelInferRequest(model_name="digits")
            x = request.inputs.add(name="x", datatype="FP32", shape=[1, 1, 28, 28])
            x.parameters["shared_memory_region"].string_param = "hers"
            x.parameters["shared_memory_byte_size"].int64_param = 3136
            request.inputs.add(name="timestep", datatype="FP32", shape=[1]).contents.fp32_contents.append(5)
            return triton.ModelInfer(request, metadata=bearer(token), timeout=30)

        register("alice-token", "hers")
        assert list(regions("alice-token")) == ["hers"]
        assert list(regions("mallory-token")) == []
        failure = failing(regions, "mallory-token", "hers")
        assert (failure.code, failure.reason) == (grpc.StatusCode.NOT_FOUND, "REGION_NOT_FOUND")
        failure = failing(register, "mallory-token", "mine")
        assert failure.code == DENIED and "/mallory.NAME" in failure.violations["key"]
        failure = failing(infer, "mallory-token")
        assert (failure.code, failure.reason) == (grpc.StatusCode.NOT_FOUND, "REGION_NOT_FOUND")
        unregister("mallory-token")
        unregister("mallory-token", "hers")
        assert infer("alice-token").outputs[0].name == "out", "it is still hers, and there"
        assert guarded.metrics().total("shared_memory_regions") == 1
        unregister("alice-token")
    finally:
        shared_memory.destroy_shared_memory_region(handle)


# --- denoised --hash-token.


def test_the_hash_of_a_token():
    def hashed(text: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [DENOISED, "--hash-token"],
            input=text,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
            env=clean_environment(),
        )

    token = "a-token-of-this-test"
    assert hashed(token + "\n").stdout.strip() == entry("x", token)["sha256"]
    for text in ("", "short\n", "two words of which it has more\n"):
        done = hashed(text)
        assert done.returncode == 65 and not done.stdout and "openssl rand -hex 32" in done.stderr
        assert "words" not in done.stderr
