"""Latent models with a decoder: what is decoded, and when; alone and batched; errors; reload."""

import base64
import io
import json
import re
import subprocess
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
import torch
import tritonclient.grpc as triton
from PIL import Image

from harness.api import CALL_TIMEOUT, Outcome, array, connect, diffuse, next_of, pb, pb_grpc, sample, tensor
from harness.errors import failing
from harness.models import GaussianDenoiser, SickDecoder, Upsampler, write_decoder, write_model
from harness.paths import BIN, DENOISE, DENOISED, clean_environment
from harness.waiting import PATIENCE

LATENT, DECODED = (4, 8, 8), (3, 32, 32)
BOTH = [pb.CONTENT_X_T, pb.CONTENT_PREDICTED_X_0]
FEW = dict(sampler=dict(kind="KIND_DDIM", steps=6))
TOLERANCE = 1e-5


def write_latent(folder, decoder=None):
    return write_decoder(write_model(folder, GaussianDenoiser(), shape=LATENT), decoder or Upsampler())


@torch.inference_mode()
def decoded(latents: np.ndarray, decoder=None) -> np.ndarray:
    """[n, 4, H, W] as the decoder itself makes it."""
    return (decoder or Upsampler())(torch.from_numpy(latents.copy())).numpy()


@pytest.fixture(scope="module")
def latent_server(start_shared_server, tmp_path_factory):
    return start_shared_server(model=write_latent(tmp_path_factory.mktemp("models") / "latent"))


@pytest.fixture
def stub(latent_server):
    yield latent_server.stub
    latent_server.until_idle()


def test_the_model_says_so(stub):
    model = stub.GetModel(pb.GetModelRequest(), timeout=10)
    assert model.has_decoder
    assert (tuple(model.sample_shape), tuple(model.decoded_shape)) == (LATENT, DECODED)
    assert (model.decoded_value_min, model.decoded_value_max) == (-1, 1)


def test_a_result_is_latents_or_decoded(stub):
    latents = sample(stub, num_samples=3, seed=5, **FEW).samples
    assert latents.shape == (3, *LATENT)
    got = sample(stub, num_samples=3, seed=5, decode=True, **FEW).samples
    assert got.shape == (3, *DECODED)
    np.testing.assert_allclose(got, decoded(latents), atol=TOLERANCE)


def test_states_are_latents_or_decoded(stub):
    """Both contents, from x_T on, and with them a result of the other kind."""

    def ask(of_states: bool) -> Outcome:
        states = dict(every_n_steps=2, steps=[0], content=BOTH, decode=of_states)
        return sample(stub, num_samples=2, seed=1, states=states, decode=not of_states, **FEW)

    latents, pictures = ask(False), ask(True)
    assert latents.samples.shape == (2, *DECODED) and pictures.samples.shape == (2, *LATENT)
    for index in range(2):
        for content in BOTH:
            raw, got = latents.states_of(index, content), pictures.states_of(index, content)
            assert set(raw) == set(got) == ({0, 2, 4, 6} if content == pb.CONTENT_X_T else {2, 4, 6})
            for step, x in raw.items():
                np.testing.assert_allclose(got[step], decoded(x[None])[0], atol=TOLERANCE)
    np.testing.assert_allclose(pictures.states_of(1)[6], latents.samples[1], atol=TOLERANCE)


def pixels(png: bytes) -> np.ndarray:
    """[H, W, C] in -1..1."""
    return np.asarray(Image.open(io.BytesIO(png)), np.float32) / 127.5 - 1


def test_pictures_are_decoded_unasked(stub):
    png = dict(encoding="ENCODING_PNG")
    states = dict(every_n_steps=6, content=[pb.CONTENT_X_T], **png)
    got = sample(stub, num_samples=2, seed=5, states=states, **png, **FEW)
    wanted = decoded(sample(stub, num_samples=2, seed=5, **FEW).samples).transpose(0, 2, 3, 1)
    for index, picture in enumerate(got.result.pngs):
        np.testing.assert_allclose(pixels(picture), wanted[index], atol=1 / 127)
    last = {state.sample_index: state.png for state in got.states}
    assert [last[0], last[1]] == list(got.result.pngs)


def test_the_forward_process_is_of_latents_and_its_pictures_decoded(stub):
    x_0 = np.random.default_rng(0).uniform(-1, 1, (1, *LATENT)).astype(np.float32)
    request = dict(x_0=tensor(x_0), timesteps=[10, 500], seed=3)
    raw, pictures = diffuse(stub, **request), diffuse(stub, encoding="ENCODING_PNG", **request)
    for state, picture in zip(raw.states, pictures.states, strict=True):
        wanted = decoded(array(state.tensor))[0].transpose(1, 2, 0)
        np.testing.assert_allclose(pixels(picture.png), wanted, atol=1 / 127)


def test_requests_begin_from_latents(stub):
    image = np.zeros((1, *DECODED), np.float32)
    failure = failing(stub.Sample, pb.SampleRequest(image_to_image=dict(image=tensor(image), strength=0.5)), timeout=10)
    assert "image_to_image.image.shape" in failure.violations
    assert "4, 8, 8]" in failure.message


def test_decoding_in_company(stub):
    alone = sample(stub, num_samples=3, seed=5, decode=True, **FEW).samples

    def one(i: int) -> Outcome:
        # Others decode states, or nothing, or more in one tick than a call holds.
        states = dict(every_n_steps=1, content=BOTH, decode=i % 3 > 0) if i % 2 else None
        others = dict(num_samples=7 if i % 5 == 0 else 3, seed=5, decode=i % 4 > 0)
        return sample(stub, states=states, **others, **FEW)

    with ThreadPoolExecutor(12) as pool:
        outcomes = list(pool.map(one, range(48)))
    for i, outcome in enumerate(outcomes):
        got = outcome.samples[:3] if i % 4 else decoded(outcome.samples[:3])
        np.testing.assert_allclose(got, alone, atol=1e-4)


def test_bits_do_not_depend_on_company(start_server, tmp_path):
    server = start_server("--batch-invariant", "--devices", "cpu:2", model=write_latent(tmp_path / "latent"))
    states = dict(every_n_steps=2, content=BOTH, decode=True)

    def ask(seed: int, n: int) -> Outcome:
        return sample(server.stub, num_samples=n, seed=seed, decode=True, states=states, **FEW)

    alone = {seed: ask(seed, 2) for seed in range(4)}
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda i: (i % 4, ask(i % 4, 2 + i % 3)), range(32)))
    for seed, outcome in together:
        assert np.array_equal(outcome.samples[:2], alone[seed].samples)
        for index in range(2):
            for content in BOTH:
                wanted = alone[seed].states_of(index, content)
                for step, x in outcome.states_of(index, content).items():
                    assert np.array_equal(x, wanted[step])


def test_decoder_calls_are_measured_where_there_are_some(latent_server, stub):
    before = latent_server.metrics()
    sample(stub, **FEW)
    latent_server.until_idle()
    after = latent_server.metrics()
    assert after.total("decoder_seconds_count") == before.total("decoder_seconds_count")
    sample(stub, decode=True, **FEW)
    latent_server.until_idle()
    assert latent_server.metrics().total("decoder_seconds_count") == before.total("decoder_seconds_count") + 1


# --- What is refused, and what fails.


@pytest.mark.parametrize("field", ["decode", "states.decode"])
def test_models_without_a_decoder(server, field):
    states = dict(every_n_steps=1, content=[pb.CONTENT_X_T], decode=field == "states.decode")
    failure = failing(server.stub.Sample, pb.SampleRequest(decode=field == "decode", states=states), timeout=10)
    assert failure.code == grpc.StatusCode.INVALID_ARGUMENT
    assert "has no decoder" in failure.violations[field] and "leave it out" in failure.violations[field]
    assert not server.stub.GetModel(pb.GetModelRequest(), timeout=10).has_decoder


@pytest.mark.parametrize("raises", [False, True], ids=["nan", "exception"])
def test_a_decoder_that_fails_fails_the_request_alone(start_server, tmp_path, raises):
    server = start_server(model=write_latent(tmp_path / "sick", SickDecoder(raises)))
    good = dict(seed=3, num_samples=2, decode=True, sampler=dict(kind="KIND_DDPM", steps=200))
    expected = sample(server.stub, **good).samples
    beside = [server.stub.Sample(pb.SampleRequest(**good), timeout=CALL_TIMEOUT) for _ in range(4)]
    noise = np.random.default_rng(7).standard_normal((3, *LATENT)).astype(np.float32)
    noise[1, 0, 0, 0] = 500
    failure = failing(
        server.stub.Sample,
        pb.SampleRequest(
            num_samples=3,
            initial_noise=tensor(noise),
            sampler=dict(steps=200),
            states=dict(steps=[0], content=[pb.CONTENT_X_T], decode=True),
        ),
        timeout=CALL_TIMEOUT,
    )
    assert failure.code == grpc.StatusCode.INTERNAL, failure
    assert "sample_index 1, step 0" in failure.message and "decoder" in failure.message, failure
    assert ("sick row" if raises else "not finite") in failure.message
    for stream in beside:
        np.testing.assert_allclose(Outcome.of(stream).samples, expected, atol=1e-4)
    metrics = server.until_counted(1, code="INTERNAL")
    assert metrics.total("chains_failed_total", reason="decoder_error") == 1


def examine(*flags) -> subprocess.CompletedProcess:
    return subprocess.run(
        [DENOISED, "--log-level", "warn", "--devices", "cpu:1", "--batch-sizes", "1,2", "--examine", *flags],
        capture_output=True,
        text=True,
        timeout=60 * PATIENCE,
        env=clean_environment(),
        check=False,
    )


def test_examine_tells_of_the_decoder(tmp_path):
    done = examine(str(write_latent(tmp_path / "latent")))
    assert done.returncode == 0, done.stderr
    assert "answers 3 x 32 x 32" in done.stdout and "decoded together" in done.stdout

    class Mixed(Upsampler):
        def forward(self, latents):
            return torch.tanh(self.conv(latents - latents.mean()))

    done = examine(str(write_latent(tmp_path / "mixed", Mixed())))
    assert done.returncode != 0
    (line,) = done.stderr.strip().splitlines()
    assert "decoder.pt: what forward makes of a sample changes" in line


def test_a_damaged_decoder_is_refused(start_process, tmp_path):
    folder = write_latent(tmp_path / "latent")
    with open(folder / "decoder.pt", "ab") as file:
        file.write(b"x")
    process = start_process("--listen", "127.0.0.1:0", "--model", str(folder))
    assert process.wait() != 0
    assert "decoder.pt: its sha256 is" in process.stderr


# --- Loading under traffic.


def test_reload_brings_the_new_decoder_and_chains_end_on_the_old_one(start_server, tmp_path):
    repository = tmp_path / "repository"
    write_latent(repository / "latent" / "1")
    server = start_server(
        "--model-repository", str(repository), "--admin-listen", "127.0.0.1:0", "--tune-seconds", "0", model=None
    )
    latents = sample(server.stub, seed=2, **FEW).samples
    long = dict(seed=2, decode=True, sampler=dict(kind="KIND_DDIM", steps=900))
    expected = sample(server.stub, **long).samples
    running = server.stub.Sample(pb.SampleRequest(states=dict(every_n_steps=1), **long), timeout=CALL_TIMEOUT)
    next_of(running, "state")
    write_decoder(repository / "latent" / "1", Upsampler(seed=1))
    before = server.stub.GetModel(pb.GetModelRequest(), timeout=10)
    with connect(re.search(r"ModelAdmin on (\S+)", server.stderr)[1]) as channel:
        admin = pb_grpc.ModelAdminStub(channel)
        after = admin.ReloadModel(pb.ReloadModelRequest(model="latent"), timeout=60 * PATIENCE)
        assert after.numerics_id != before.numerics_id
        np.testing.assert_allclose(
            sample(server.stub, seed=2, decode=True, **FEW).samples, decoded(latents, Upsampler(seed=1)), atol=TOLERANCE
        )
        np.testing.assert_allclose(Outcome.of(running).samples, expected, atol=1e-4)

        (repository / "latent" / "1" / "decoder.pt").write_bytes(b"not a module")
        failure = failing(admin.ReloadModel, pb.ReloadModelRequest(model="latent"), timeout=60)
        assert failure.code == grpc.StatusCode.INVALID_ARGUMENT and "decoder.pt" in failure.message
    assert sample(server.stub, decode=True, **FEW).samples.shape == (1, *DECODED)


# --- Other clients.


def test_the_command_line(latent_server, tmp_path):
    def run(*arguments) -> None:
        done = subprocess.run(
            [
                DENOISE,
                "sample",
                "--address",
                latent_server.address,
                "--sampler",
                "ddim",
                "--steps",
                "6",
                "--seed",
                "5",
                "--n",
                "3",
                *map(str, arguments),
            ],
            capture_output=True,
            text=True,
            timeout=60 * PATIENCE,
            env=clean_environment(),
            check=False,
        )
        assert done.returncode == 0, done.stderr

    run("--out", tmp_path / "latents.npy", "--states", tmp_path / "states.npy", "--every", "3")
    latents = np.load(tmp_path / "latents.npy")
    assert latents.shape == (3, *LATENT)
    assert np.load(tmp_path / "states.npy").shape[2:] == (3, *LATENT)
    run("--decode", "--out", tmp_path / "x.npy")
    np.testing.assert_allclose(np.load(tmp_path / "x.npy"), decoded(latents), atol=TOLERANCE)
    run("--out", tmp_path / "x.png", "--scale", "1", "--animate", tmp_path / "x.gif")
    grid = np.asarray(Image.open(tmp_path / "x.png"), np.float32)
    first = grid[:32, :32] / 127.5 - 1
    np.testing.assert_allclose(first, decoded(latents)[0].transpose(1, 2, 0), atol=1 / 127)


def test_the_viewer_shows_what_is_decoded(latent_server, stub):
    viewer = subprocess.Popen(
        [str(BIN / "denoise-viewer"), "--server", latent_server.address, "--listen", "127.0.0.1:0"],
        env=clean_environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        page = re.search(r"http://\S+:\d+", viewer.stdout.readline())[0]
        with urllib.request.urlopen(f"{page}/api/models", timeout=10) as answer:
            (model,) = json.load(answer)["models"]
        assert (tuple(model["sample_shape"]), model["drawable"]) == (DECODED, False)
        run = urllib.request.Request(
            f"{page}/api/runs",
            method="POST",
            data=json.dumps(dict(kind="sample", steps=3, seed=5)).encode(),
            headers={"Content-Type": "application/json", "Origin": page},
        )
        with urllib.request.urlopen(run, timeout=60) as answer:
            events = [json.loads(line[6:]) for line in answer.read().decode().splitlines() if line.startswith("data: ")]
        pictures = [event["png"] for event in events if event["type"] == "state"] + events[-1]["pngs"]
        assert len(pictures) == 2 * 3 + 1
        assert {pixels(base64.b64decode(picture)).shape for picture in pictures} == {(32, 32, 3)}
    finally:
        viewer.terminate()
        assert viewer.wait(20) == 0


def test_tritonclient(latent_server, stub):
    def ask(decode: bool, *outputs: str):
        inputs = []
        for name, value, datatype in (
            ("seed", np.array([5], np.uint64), "UINT64"),
            ("steps", np.array([6], np.uint32), "UINT32"),
            ("sampler", np.array([b"ddim"], object), "BYTES"),
            ("decode", np.array([decode]), "BOOL"),
        ):
            inputs.append(triton.InferInput(name, list(value.shape), datatype).set_data_from_numpy(value))
        wanted = [triton.InferRequestedOutput(name) for name in outputs]
        return client.infer("latent.sample", inputs, outputs=wanted)

    with triton.InferenceServerClient(latent_server.address) as client:
        latents = ask(False, "sample").as_numpy("sample")
        assert latents.shape == (1, *LATENT)
        both = ask(True, "sample", "png")
        np.testing.assert_allclose(both.as_numpy("sample"), decoded(latents), atol=TOLERANCE)
        assert pixels(both.as_numpy("png")[0]).shape == (32, 32, 3)
        assert ask(False, "png").as_numpy("png")[0] == both.as_numpy("png")[0]
