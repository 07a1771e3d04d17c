"""TLS, mutual TLS and tokens: who is let in, who is not, and what they are told."""

import shutil
import subprocess
from dataclasses import dataclass

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from harness.access import bearer, entry, secure_channel, tls_flags, write_tokens
from harness.api import CALL_TIMEOUT, pb, pb_grpc, sample
from harness.certificates import Authority, Pair
from harness.errors import DOMAIN, failing
from harness.paths import DENOISE, DENOISED, DIGITS, clean_environment
from harness.server import ONE_ENGINE
from harness.waiting import PATIENCE, eventually

USAGE, DATAERR, UNAVAILABLE, NOPERM = 64, 65, 69, 77
# Of calls that find nobody whom they trust, and would look for longer.
BRIEF = ("--connect-timeout", "1s")
FEW = dict(seed=1, sampler=dict(kind="KIND_DDIM", steps=4))


@dataclass(frozen=True)
class Certificates:
    ours: Authority
    theirs: Authority
    server: Pair
    client: Pair
    expired: Pair
    stranger: Pair


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")
    ours, theirs = Authority(folder / "ours", "Our root"), Authority(folder / "theirs", "Their root")
    return Certificates(
        ours=ours,
        theirs=theirs,
        server=ours.issue("server", "IP:127.0.0.1", "DNS:localhost"),
        client=ours.issue("client"),
        expired=ours.issue("expired", "IP:127.0.0.1", days=-1),
        stranger=theirs.issue("stranger", "IP:127.0.0.1"),
    )


def channel(server, *credentials) -> grpc.Channel:
    return secure_channel(server.address, *credentials)


def denoise(server, *flags, **environment) -> subprocess.CompletedProcess:
    return subprocess.run(
        [DENOISE, "models", "--address", server.address, *map(str, flags)],
        capture_output=True,
        text=True,
        timeout=60 * PATIENCE,
        env=clean_environment() | environment,
        check=False,
    )


def probe(server, *flags, **environment) -> subprocess.CompletedProcess:
    return subprocess.run(
        [DENOISED, "--probe", "--listen", server.address, *flags],
        capture_output=True,
        text=True,
        timeout=60 * PATIENCE,
        env=clean_environment() | environment,
        check=False,
    )


# --- TLS


@pytest.fixture(scope="module")
def tls_server(start_shared_server, tmp_path_factory, certificates):
    folder = tmp_path_factory.mktemp("tls")
    served = Pair(folder / "server.pem", folder / "server.key")
    shutil.copy(certificates.server.certificate, served.certificate)
    shutil.copy(certificates.server.key, served.key)
    tokens = write_tokens(folder / "tokens", *ENTRIES)
    server = start_shared_server(*ONE_ENGINE, "--batch-sizes", "1,2", *tls_flags(served), "--token-file", str(tokens))
    server.pair, server.tokens = served, tokens
    return server


ENTRIES = entry("first", "right-token"), entry("second", "second-token")
TOKEN = tuple(bearer("right-token"))


def test_the_right_token_over_tls(tls_server, certificates):
    with channel(tls_server, certificates.ours) as to:
        stub = pb_grpc.DiffusionStub(to)
        assert sample(stub, metadata=TOKEN, **FEW).result.denoiser_rows
        assert stub.ListModels(pb.ListModelsRequest(), metadata=TOKEN, timeout=CALL_TIMEOUT).models
        lower = (("authorization", "bearer second-token"),)
        assert stub.GetModel(pb.GetModelRequest(), metadata=lower, timeout=CALL_TIMEOUT).name == "digits"


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        ((), "there is none"),
        ((("authorization", "Bearer wrong"),), "not one that this server takes"),
        ((("authorization", "Bearer right-token "),), "not one"),
        ((("authorization", "Bearer " + ENTRIES[0]["sha256"]),), "not one"),
        ((("authorization", "Bearer "),), "not one"),
        ((("authorization", "Basic right-token"),), "Bearer TOKEN"),
        ((("authorization", "right-token"),), "Bearer TOKEN"),
        (TOKEN + TOKEN, "send one"),
    ],
)
def test_any_other_is_unauthenticated_with_details(tls_server, certificates, metadata, says):
    before = tls_server.metrics()
    with channel(tls_server, certificates.ours) as to:
        stub = pb_grpc.DiffusionStub(to)
        for call, request in (
            (stub.Sample, pb.SampleRequest(**FEW)),
            (stub.ListModels, pb.ListModelsRequest()),
            (stub.GetModel, pb.GetModelRequest()),
        ):
            failure = failing(call, request, metadata=metadata, timeout=CALL_TIMEOUT)
            assert failure.code == grpc.StatusCode.UNAUTHENTICATED, failure
            assert (failure.reason, failure.domain) == ("UNAUTHENTICATED", DOMAIN)
            assert failure.message.startswith("authorization: ") and says in failure.message
            assert "right-token" not in failure.message
    tls_server.until_counted(3, before, code="UNAUTHENTICATED")


def test_health_needs_no_token_and_reflection_does(tls_server, certificates):
    with channel(tls_server, certificates.ours) as to:
        health = health_pb2_grpc.HealthStub(to)
        answer = health.Check(health_pb2.HealthCheckRequest(), timeout=CALL_TIMEOUT)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING

        reflection = reflection_pb2_grpc.ServerReflectionStub(to)
        request = reflection_pb2.ServerReflectionRequest(list_services="")

        def ask(metadata):
            return list(reflection.ServerReflectionInfo(iter([request]), metadata=metadata, timeout=CALL_TIMEOUT))

        assert failing(ask, ()).code == grpc.StatusCode.UNAUTHENTICATED
        assert ask(TOKEN)[0].list_services_response.service


def test_plain_is_refused(tls_server):
    with grpc.insecure_channel(tls_server.address) as to:
        failure = failing(
            pb_grpc.DiffusionStub(to).GetModel, pb.GetModelRequest(), metadata=TOKEN, timeout=CALL_TIMEOUT
        )
    assert failure.code == grpc.StatusCode.UNAVAILABLE
    assert denoise(tls_server, *BRIEF).returncode == UNAVAILABLE


def test_the_command_line(tls_server, certificates, tmp_path):
    token = tmp_path / "token"
    token.write_text("right-token\n")
    ours = "--tls-ca", certificates.ours.certificate

    done = denoise(tls_server, *ours, "--token-file", token)
    assert done.returncode == 0 and "digits" in done.stdout, done.stderr
    done = denoise(tls_server, DENOISE_TLS_CA=str(certificates.ours.certificate), DENOISE_TOKEN_FILE=str(token))
    assert done.returncode == 0, done.stderr

    token.write_text("wrong\n")
    done = denoise(tls_server, *ours, "--token-file", token)
    assert done.returncode == NOPERM and "not one that this server takes" in done.stderr
    assert denoise(tls_server, *ours).returncode == NOPERM

    done = denoise(tls_server, *BRIEF, "--tls-ca", certificates.theirs.certificate, "--token-file", token)
    assert done.returncode == UNAVAILABLE and "CERTIFICATE_VERIFY_FAILED" in done.stderr.replace(
        "certificate verify failed", "CERTIFICATE_VERIFY_FAILED"
    ), done.stderr
    assert denoise(tls_server, *BRIEF, "--tls", "--token-file", token).returncode == UNAVAILABLE, "of no known root"
    done = denoise(tls_server, *BRIEF, *ours, "--tls-name", "elsewhere.example", "--token-file", token)
    assert done.returncode == UNAVAILABLE, "another name"
    done = denoise(tls_server, *ours, "--tls-name", "localhost", "--token-file", token)
    assert done.returncode == NOPERM, "a name that is in the certificate"

    for flags, says in (
        (("--token-file", token), "in the clear"),
        ((*ours, "--token-file", tmp_path / "none"), "--token-file"),
        (("--tls-ca", tmp_path / "none"), "none"),
        (("--tls-ca", token), "tls.ca_pem is not in PEM form"),
        ((*ours, "--tls-cert", certificates.client.certificate), "--tls-key"),
    ):
        done = denoise(tls_server, *flags)
        assert done.returncode == USAGE and says in done.stderr, (flags, done)


def test_the_probe_trusts_its_own_certificate(tls_server, certificates):
    done = probe(tls_server, *tls_flags(tls_server.pair))
    assert done.returncode == 0 and "SERVING" in done.stdout, done
    done = probe(
        tls_server, DENOISED_TLS_CERT=str(tls_server.pair.certificate), DENOISED_TLS_KEY=str(tls_server.pair.key)
    )
    assert done.returncode == 0, done
    assert probe(tls_server).returncode == 1, "without TLS"
    assert probe(tls_server, *tls_flags(certificates.stranger)).returncode == 1, "another certificate"


def test_tokens_are_read_again(tls_server, certificates):
    def takes(token: str) -> bool:
        with channel(tls_server, certificates.ours) as to:
            try:
                pb_grpc.DiffusionStub(to).GetModel(pb.GetModelRequest(), metadata=bearer(token), timeout=CALL_TIMEOUT)
                return True
            except grpc.RpcError as error:
                assert error.code() == grpc.StatusCode.UNAUTHENTICATED
                return False

    assert takes("second-token") and not takes("third-token")
    try:
        write_tokens(tls_server.tokens, ENTRIES[0], entry("third", "third-token"))
        eventually(lambda: takes("third-token"), what="the new token is taken")
        assert not takes("second-token")

        tls_server.tokens.write_text('[{"name": "first",\n"sha256": "right-token"}]')
        tls_server.until(lambda m: m.total("token_file_stale") == 1, what="a file of no use is counted")
        assert takes("right-token") and takes("third-token"), "what was read before stays in force"
        assert "line 2: sha256: what is there is not 64 hexadecimal digits" in tls_server.stderr
    finally:
        write_tokens(tls_server.tokens, *ENTRIES)
    eventually(lambda: takes("second-token"), what="the old one is back")
    assert tls_server.metric("token_file_stale") == 0
    assert "right-token" not in tls_server.stderr


def test_certificates_are_read_again(tls_server, certificates):
    def trusted(authority: Authority) -> bool:
        with channel(tls_server, authority) as to:
            try:
                health_pb2_grpc.HealthStub(to).Check(health_pb2.HealthCheckRequest(), timeout=CALL_TIMEOUT)
                return True
            except grpc.RpcError as error:
                assert error.code() == grpc.StatusCode.UNAVAILABLE
                return False

    def serve(pair: Pair) -> None:
        shutil.copy(pair.key, tls_server.pair.key)
        shutil.copy(pair.certificate, tls_server.pair.certificate)

    assert trusted(certificates.ours) and not trusted(certificates.theirs)
    serve(certificates.stranger)
    try:
        eventually(lambda: trusted(certificates.theirs), within=30, what="the new certificate is shown")
    finally:
        serve(certificates.server)
    eventually(lambda: trusted(certificates.ours), within=30, what="the old one is back")


# --- mutual TLS


def test_mutual_tls(start_server, certificates):
    server = start_server(
        *ONE_ENGINE,
        "--batch-sizes",
        "1,2",
        *tls_flags(certificates.server),
        "--tls-client-ca",
        str(certificates.ours.certificate),
    )
    with channel(server, certificates.ours, certificates.client) as to:
        assert sample(pb_grpc.DiffusionStub(to), **FEW).result.denoiser_rows
    for pair in (None, certificates.expired, certificates.stranger):
        with channel(server, certificates.ours, pair) as to:
            failure = failing(pb_grpc.DiffusionStub(to).GetModel, pb.GetModelRequest(), timeout=CALL_TIMEOUT)
            assert failure.code == grpc.StatusCode.UNAVAILABLE, (pair, failure)

    ours = "--tls-ca", certificates.ours.certificate
    for pair, limit, status in ((certificates.client, (), 0), (certificates.expired, BRIEF, UNAVAILABLE)):
        done = denoise(server, *limit, *ours, "--tls-cert", pair.certificate, "--tls-key", pair.key)
        assert done.returncode == status, done
    assert denoise(server, *BRIEF, *ours).returncode == UNAVAILABLE, "no certificate"

    flags = *tls_flags(certificates.server), "--tls-client-ca", str(certificates.ours.certificate)
    done = probe(server, *flags)
    assert done.returncode == 0 and "SERVING" in done.stdout, done


# --- flags


def test_files_that_are_of_no_use_end_the_server_at_once(start_process, certificates, tmp_path):
    nonsense = tmp_path / "nonsense"
    nonsense.write_text("no certificate\n")
    empty = write_tokens(tmp_path / "empty")
    wrong = write_tokens(tmp_path / "wrong", ENTRIES[0], entry("second", "second-token", rows_per_second=-1))
    named = write_tokens(tmp_path / "named", entry("first", san="first.example"))
    tokens = write_tokens(tmp_path / "tokens", *ENTRIES)
    plain = tmp_path / "plain"
    plain.write_text("right-token\n")
    good = tls_flags(certificates.server)
    cases = (
        (good[:2], USAGE, "--tls-key"),
        (good[2:], USAGE, "--tls-cert"),
        (("--token-file", str(empty)), USAGE, "--tls-cert"),
        (("--tls-client-ca", str(nonsense)), USAGE, "--tls-cert"),
        (("--tls-cert", str(nonsense), *good[2:]), DATAERR, "--tls-cert"),
        (("--tls-cert", str(tmp_path / "none"), *good[2:]), DATAERR, "cannot be read"),
        ((*good[:2], "--tls-key", str(certificates.client.key)), DATAERR, "--tls-key"),
        (tls_flags(certificates.expired), DATAERR, "has expired"),
        ((*good, "--tls-client-ca", str(nonsense)), DATAERR, "--tls-client-ca"),
        ((*good, "--token-file", str(empty)), DATAERR, "has no entry"),
        ((*good, "--token-file", str(wrong)), DATAERR, "line 3: rows_per_second: -1 is not a number between 0"),
        ((*good, "--token-file", str(plain)), DATAERR, "line 1: is not JSON here"),
        ((*good, "--token-file", str(named)), DATAERR, "--tls-client-ca"),
        ((*good, "--token-file", str(tokens), "--tenant-by", "address"), USAGE, "--tenant-by"),
        ((*good, "--token-file", str(tokens), "--admin-listen", "127.0.0.1:0"), DATAERR, "the scope admin"),
        (("--admin-listen", "0.0.0.0:0"), USAGE, "--token-file with an entry of the scope admin"),
        ((*good, "--admin-listen", "0.0.0.0:0"), USAGE, "--token-file with an entry of the scope admin"),
        (("--max-rate-per-tenant", "5"), USAGE, "--max-rate-per-tenant: all callers are one tenant"),
        ((*good, "--token-file", str(tmp_path / "none")), DATAERR, "cannot be read"),
    )
    # All at once, since each takes as long as it takes to load LibTorch.
    processes = [start_process("--model", str(DIGITS), *flags) for flags, _, _ in cases]
    for process, (flags, status, says) in zip(processes, cases, strict=True):
        assert process.wait() == status, (flags, process.stderr)
        assert says in process.stderr and process.stderr.count("\n") == 1, process.stderr
        assert "right-token" not in process.stderr, "tokens are not told"
