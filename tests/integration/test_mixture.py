"""Any mix in one batch: samplers, step counts, guidance, images, masks and likelihoods together."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from harness.api import evaluate, sample, tensor
from harness.reference import KINDS, error_of
from harness.server import ONE_ENGINE

SAMPLERS = ("ddim", "ddpm", "euler", "heun", "dpmpp_2m", "sde_dpmpp_2m", "unipc", "lms")


def requests() -> list[dict]:
    """24 of 8 samplers, each without guidance, with it, and with it rescaled on an interval."""
    made = []
    for i, sampler in enumerate(SAMPLERS):
        common = dict(sampler=dict(kind=KINDS[sampler], steps=10 + 3 * i), class_labels=[i], num_samples=1)
        made.append(dict(common, seed=3 * i, guidance_scale=1))
        made.append(dict(common, seed=3 * i + 1, guidance_scale=2))
        made.append(
            dict(
                common,
                seed=3 * i + 2,
                guidance_scale=4,
                guidance_rescale=0.5,
                guidance_interval=dict(sigma_min=0.1, sigma_max=10),
            )
        )
    return made


def test_24_requests_of_8_samplers_and_a_likelihood(start_server, report):
    server = start_server(*ONE_ENGINE, "--batch-sizes", "1,2,3,4,6,8,12,16")
    mixture = requests()
    alone = [sample(server.stub, **fields).samples for fields in mixture]
    x_0 = tensor(np.rint((np.clip(alone[0], -1, 1) + 1) * 127.5) / 127.5 - 1)
    evaluated = dict(x_0=x_0, class_labels=[0], seed=1, num_timesteps=300)
    bound = evaluate(server.stub, **evaluated).likelihood.total_bits_per_dim[0]

    before = server.metrics()
    with ThreadPoolExecutor(len(mixture) + 1) as pool:
        term_wise = pool.submit(evaluate, server.stub, **evaluated)
        together = list(pool.map(lambda fields: sample(server.stub, **fields), mixture))
    after = server.metrics()

    rows = after.total("rows_total") - before.total("rows_total")
    calls = after.total("batch_rows_count") - before.total("batch_rows_count")
    of_requests = sum(outcome.result.denoiser_rows for outcome in together)
    of_terms = len(term_wise.result().terms)
    assert rows == of_requests + of_terms
    errors = [error_of(t.samples, a) for t, a in zip(together, alone, strict=True)]
    apart = abs(term_wise.result().likelihood.total_bits_per_dim[0] - bound)
    report("24 requests of 8 samplers and a likelihood: rows a call", f"{rows / calls:.1f}")
    report("worst difference to each alone", f"{max(errors):.2g}, {apart:.2g} bits/dim")
    assert rows / calls > 8
    assert max(errors) <= 1e-4
    assert apart <= 1e-4
