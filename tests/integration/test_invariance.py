"""With --batch-invariant a request's bits are the same alone and in any company, on any replica."""

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.api import sample

# What a step costs in denoiser rows, at most; one where nothing is said.
KINDS = {
    "KIND_DDPM": 1,
    "KIND_DDIM": 1,
    "KIND_EULER": 1,
    "KIND_EULER_ANCESTRAL": 1,
    "KIND_HEUN": 2,
    "KIND_DPMPP_2M": 1,
    "KIND_SDE_DPMPP_2M": 1,
    "KIND_DPMPP_3M": 1,
    "KIND_UNIPC": 1,
    "KIND_LMS": 1,
    "KIND_PNDM": 2,  # one more in all, that is, two for a single step
    "KIND_DEIS": 1,
}
MOST_ROWS = 20
IN_FLIGHT = 48


def random_request(draw: random.Random) -> dict:
    """Of any kind, and at most MOST_ROWS denoiser rows."""
    while True:
        kind = draw.choice(list(KINDS))
        guided = draw.random() < 0.5
        samples = draw.randint(1, 3)
        # Mostly few steps, so that ten thousand take minutes.
        steps = draw.randint(1, 20) if draw.random() < 0.3 else draw.randint(1, 3)
        if steps * KINDS[kind] * samples * (2 if guided else 1) > MOST_ROWS:
            continue
        sampler = dict(kind=kind, steps=steps)
        if kind == "KIND_DDIM":
            sampler["eta"] = draw.choice([0, 0.5, 1])
        request = dict(
            seed=draw.getrandbits(32),
            num_samples=samples,
            guidance_scale=draw.uniform(1.5, 4) if guided else 1,
            sampler=sampler,
        )
        if guided or draw.random() < 0.7:
            request["class_labels"] = [draw.randint(0, 9) for _ in range(draw.choice([1, samples]))]
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
        together = dict(zip(shuffled, pool.map(lambda i: run(wanted[i]), shuffled)))
    after = server.until_idle()

    different = [wanted[i] for i in range(count) if together[i] != alone[i]]
    rows = sum(rows for _, rows in alone)
    calls = after.total("batch_rows_count") - before.total("batch_rows_count")
    report("requests alone and in company, all bits equal", f"{count - len(different)} of {count}")
    report("rows, in batches of a mean of", f"{rows}, {rows / calls:.1f}")
    assert not different, different[:3]
    assert rows / calls > 3, "there was company"


@pytest.fixture
def server(start_server):
    return start_server("--batch-invariant", "--devices", "cpu:2")


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
    for flags, environment in (
        (("--config", str(config)), {}),
        ((), {"DENOISED_BATCH_INVARIANT": "true"}),
    ):
        server = start_server(*flags, "--devices", "cpu:1", environment=environment)
        assert "agree bit for bit" in server.stderr
