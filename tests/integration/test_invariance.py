"""With --batch-invariant a request's bits are the same alone and in any batch, on any replica."""

import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from harness.api import sample, tensor
from harness.server import ONE_ENGINE

KINDS = (
    "KIND_DDPM",
    "KIND_DDIM",
    "KIND_EULER",
    "KIND_EULER_ANCESTRAL",
    "KIND_HEUN",
    "KIND_DPMPP_2M",
    "KIND_SDE_DPMPP_2M",
    "KIND_DPMPP_3M",
    "KIND_UNIPC",
    "KIND_LMS",
    "KIND_PNDM",
    "KIND_DEIS",
)
MOST_ROWS = 20
IN_FLIGHT = 48


def rows_of(kind: str, steps: int) -> int:
    """Denoiser rows of an unguided chain."""
    if kind == "KIND_HEUN":
        return 2 * steps - 1
    if kind == "KIND_PNDM":  # three steps by Runge and Kutta's four evaluations
        return steps + 9
    return steps


def picture(draw: random.Random) -> np.ndarray:
    """[1, 1, 28, 28], smooth."""
    x = np.linspace(-1, 1, 28)
    return np.sin(draw.uniform(1, 9) * x)[None, None, :, None] * np.cos(draw.uniform(1, 9) * x)


def random_request(draw: random.Random) -> dict:
    """Of any kind, and at most MOST_ROWS denoiser rows."""
    while True:
        kind = draw.choice(KINDS)
        guided = draw.random() < 0.5
        samples = draw.randint(1, 3)
        # Mostly few steps, so that ten thousand take minutes.
        steps = draw.randint(1, 20) if draw.random() < 0.3 else draw.randint(1, 3)
        if kind == "KIND_PNDM":
            steps = draw.randint(4, 11)
        if rows_of(kind, steps) * samples * (2 if guided else 1) > MOST_ROWS:
            continue
        sampler = dict(kind=kind, steps=steps)
        if kind == "KIND_DDIM":
            sampler["eta"] = draw.choice([0, 0.5, 1])
        if draw.random() < 0.1:
            sampler["thresholding"] = True
        request = dict(
            seed=draw.getrandbits(32),
            num_samples=samples,
            guidance_scale=draw.uniform(1.5, 4) if guided else 1,
            sampler=sampler,
        )
        if guided or draw.random() < 0.7:
            request["class_labels"] = [draw.randint(0, 9) for _ in range(draw.choice([1, samples]))]
        if guided and draw.random() < 0.3:
            request["guidance_rescale"] = draw.random()
        if guided and draw.random() < 0.3:
            request["guidance_interval"] = dict(sigma_min=0.1, sigma_max=draw.uniform(1, 20))
        if steps >= 2 and kind != "KIND_PNDM" and draw.random() < 0.2:
            request["image_to_image"] = dict(image=tensor(picture(draw)), strength=0.75)
        if draw.random() < 0.2:
            mask = picture(draw) > 0
            request["inpainting"] = dict(image=tensor(picture(draw)), mask=tensor(mask.astype(np.float32)))
        return request


def check_alone_and_in_company(server, count: int, seed: int, report) -> None:
    draw = random.Random(seed)
    wanted = [random_request(draw) for _ in range(count)]

    def run(request: dict) -> tuple[bytes, int]:
        result = sample(server.stub, **request).result
        return result.samples.data, result.denoiser_rows

    alone = [run(request) for request in wanted]
    server.until_idle()
    assert max(rows for _, rows in alone) <= MOST_ROWS

    before = server.metrics()
    shuffled = list(range(count))
    draw.shuffle(shuffled)
    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        together = dict(zip(shuffled, pool.map(lambda i: run(wanted[i]), shuffled), strict=True))
    after = server.until_idle()

    different = [wanted[i] for i in range(count) if together[i] != alone[i]]
    rows = sum(rows for _, rows in alone)
    calls = after.total("batch_rows_count") - before.total("batch_rows_count")
    report("requests alone and batched with others, all bits equal", f"{count - len(different)} of {count}")
    report("rows, in batches of a mean of", f"{rows}, {rows / calls:.1f}")
    assert not different, different[:3]
    assert rows / calls > 3, "batches were shared"


@pytest.fixture(scope="module")
def server(start_shared_server):
    return start_shared_server("--batch-invariant", "--devices", "cpu:2")


def test_two_hundred_requests(server, report):
    check_alone_and_in_company(server, 200, seed=1, report=report)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_ten_thousand_requests(server, report):
    check_alone_and_in_company(server, 10_000, seed=2, report=report)


def test_the_log_says_so(server):
    assert "agree bit for bit" in server.stderr


def test_the_flag_from_the_environment_and_from_a_file(start_server, tmp_path):
    config = tmp_path / "denoised.toml"
    config.write_text("batch-invariant = true\n")
    for flags, environment in ((("--config", str(config)), {}), ((), {"DENOISED_BATCH_INVARIANT": "true"})):
        server = start_server(*flags, *ONE_ENGINE, environment=environment)
        assert "agree bit for bit" in server.stderr
