"""Runs of our tables beside diffusers' own loops: the same denoiser, the same noise, sample by sample from
torch.Generator("cpu").manual_seed(SEED + i)."""

import zlib
from functools import partial

import torch
from tables import draw, make_tables, run_table
from theirs import take_levels, walk

SHAPE = (2, 3, 4, 4)
SEED = 7
# In float64 coefficients are compared: an error is in the last digits, or it is a mistake. In float32 a rounding is
# allowed in any case.
LEAST_ALLOWED = {torch.float64: 1e-9, torch.float32: 1e-6}

torch.set_num_threads(1)


class Denoiser(torch.nn.Module):
    """A fixed random network of two layers; twice the channels where it gives a variance too."""

    def __init__(self, gives_variance: bool = False):
        super().__init__()
        generator = torch.Generator().manual_seed(1234)
        size = SHAPE[1] * SHAPE[2] * SHAPE[3]
        hidden = 32
        self.gives_variance = gives_variance
        self.register_buffer("w1", torch.randn(size, hidden, generator=generator) * size**-0.5)
        self.register_buffer("bias", torch.randn(hidden, generator=generator))
        self.register_buffer("phase", torch.randn(hidden, generator=generator))
        self.register_buffer("w2", torch.randn(hidden, size, generator=generator) * 1.5 * hidden**-0.5)
        self.register_buffer("w3", torch.randn(hidden, size, generator=generator) * hidden**-0.5)

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """`t`: one for all, or [n]."""
        rate = 0.02 * t.to(x.dtype).reshape(-1, 1)
        hidden = torch.tanh(x.flatten(1) @ self.w1 + self.bias + torch.sin(self.phase * rate))
        out = (hidden @ self.w2).view_as(x)
        if not self.gives_variance:
            return out
        return torch.cat([out, torch.tanh(hidden @ self.w3).view_as(x)], dim=1)


DENOISERS = {dtype: Denoiser().to(dtype) for dtype in (torch.float32, torch.float64)}


def generators():
    return [torch.Generator("cpu").manual_seed(SEED + i) for i in range(SHAPE[0])]


def error_between(ours, theirs):
    """max|a-b| / max(1, max|b|)"""
    assert torch.isfinite(theirs).all(), "diffusers gave a value that is not finite"
    return ((ours - theirs).abs().max() / theirs.abs().max().clamp(min=1)).item()


def kept(what, one_in):
    """Whether a run is one of those, one in `one_in`, that are made without --full."""
    return zlib.crc32(str(what).encode()) % one_in == 0


def one_of(choices, what):
    """A list of one of them, another for another `what`."""
    return [choices[zlib.crc32(str(what).encode()) % len(choices)]]


def our_sample(table, denoiser=None, dtype=torch.float64, **blend):
    """What our table gives; `blend` of run_table."""
    return run_table(table, denoiser or DENOISERS[dtype], generators(), SHAPE, dtype, **blend)


def their_sample(scheduler, table, steps, denoiser, dtype=torch.float64, set_timesteps=None, **arguments):
    """The final sample of diffusers' own loop; `arguments` of step, `set_timesteps` of that."""
    scheduler.set_timesteps(steps, **(set_timesteps or {}))
    if dtype == torch.float64:
        take_levels(scheduler, table)
    streams = generators()
    x = draw(streams, SHAPE).to(dtype) * getattr(scheduler, "init_noise_sigma", 1)  # flow models' has none
    return walk(scheduler, x, denoiser, streams, **arguments)


class Comparison:
    """Collects runs, makes all of their tables at once, and compares each with diffusers."""

    def __init__(self, allowed_error):
        """`allowed_error`: the fixture."""
        self.allowed_error = allowed_error
        self.runs = []

    def add(self, group, what, config, options, theirs, ours=None, learned_variance=False, dtype=torch.float64):
        """`config`: the scheduler_config.json; `options`: dump_table.cc's "sampler"; `theirs`, `ours`: what gives the
        final sample, of our table. Unless it is said, ours is what the table gives with the denoiser."""
        request = {"config": config, "sampler": options, "learned_variance": learned_variance}
        self.runs.append((group, what, request, theirs, ours or partial(our_sample, dtype=dtype), LEAST_ALLOWED[dtype]))

    def check(self):
        tables = make_tables([request for _, _, request, *_ in self.runs])
        bad = []
        for (group, what, _, theirs, ours, least), table in zip(self.runs, tables, strict=True):
            assert "error" not in table, f"{what}: {table['error']}"
            error = error_between(ours(table), theirs(table))
            if not error <= self.allowed_error(group, error, what, least):
                bad.append(f"{error:.2e} at {group}, {what}")
        assert not bad, f"{len(bad)} of {len(self.runs)} runs are off:\n" + "\n".join(bad[:30])
