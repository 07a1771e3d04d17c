"""diffusers' schedulers, in float64 and at our levels.

They keep levels and times as float32 numbers, as our tables do; some differ in the last bits, and parts of a step are
computed in float32 whatever it is given. Then rounding would be what is compared: by up to 3e-4 at the top of the
cosine schedule, where Euler, Heun and LMS keep x/alpha of size 20,000, and by 0.6 where DEIS computes its coefficients
as differences. So each level of ours must be one of theirs but for LEVEL_ERROR, and takes its place, and while a
scheduler runs it has float64 wherever it says float32.
"""

import contextlib
import functools
import inspect
import json
import math
import sys
from unittest import mock

import diffusers
import torch
from tables import draw, make_tables

# Relative; no run needed more.
LEVEL_ERROR = 1e-6


class Float64:
    """A module whose float32 is float64."""

    def __init__(self, module):
        self._module = module

    def __getattr__(self, name):
        return getattr(self._module, "float64" if name == "float32" else name)


def randn_tensor(shape, generator, device=None, dtype=None, layout=None):
    """diffusers' own, but for float64: which would draw other numbers."""
    return draw(generator, shape).to(dtype)


@contextlib.contextmanager
def in_float64(scheduler):
    module = sys.modules[type(scheduler).__module__]
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(module, "torch", Float64(torch)))
        if hasattr(module, "randn_tensor"):
            stack.enter_context(mock.patch.object(module, "randn_tensor", randn_tensor))
        yield


def with_ours(theirs, ours, what):
    """`theirs` in float64; `ours`, each of which must be there but for LEVEL_ERROR, take their places."""
    theirs, ours = theirs.to(torch.float64), torch.tensor(sorted(ours), dtype=torch.float64)
    apart = (theirs[:, None] - ours).abs()
    same = apart <= LEVEL_ERROR * ours.abs()
    assert same.any(dim=0).all(), f"{what} {ours[~same.any(dim=0)].tolist()} not among diffusers' {theirs.tolist()}"
    nearest = ours[apart.argmin(dim=1)]
    return torch.where(same.any(dim=1), nearest, theirs)


def take_levels(scheduler, table):
    """Gives a scheduler, after its set_timesteps, our table's levels and fractional times."""
    rows = table["rows"]
    if scheduler.timesteps.is_floating_point():
        times = {row["timestep"] for row in rows if row["denoise"]}
        scheduler.timesteps = with_ours(scheduler.timesteps, times, "time")
    if hasattr(scheduler, "sigmas"):
        flow = not hasattr(scheduler, "alphas_cumprod") or scheduler.config.get("use_flow_sigmas")
        scheduler.sigmas = with_ours(scheduler.sigmas, flow_sigmas(rows) if flow else sigmas(rows), "sigma")
        scheduler.set_begin_index(0)
    else:
        if isinstance(scheduler, diffusers.PNDMScheduler) and not getattr(scheduler, "has_our_levels", False):
            take_alpha_bars(scheduler)  # its first step is also at levels between those of rows
        final = torch.as_tensor(getattr(scheduler, "final_alpha_cumprod", 1.0))
        levels = torch.cat([scheduler.alphas_cumprod, final.reshape(1)])
        levels = with_ours(levels, alpha_bars(rows), "alpha_bar")
        scheduler.alphas_cumprod, scheduler.final_alpha_cumprod = levels[:-1], levels[-1]


@functools.cache
def our_alpha_bars(schedule):
    """Of every time, as float32, which they are. `schedule`: keys of a scheduler_config.json, as text."""
    config = {"_class_name": "DDPMScheduler", "prediction_type": "v_prediction", **json.loads(schedule)}
    (table,) = make_tables([{"config": config, "sampler": {"steps": config["num_train_timesteps"]}}])
    levels = [table["initial_alpha_bar"], *(row["state_alpha_bar"] for row in table["rows"][:-1])]
    return torch.tensor(levels, dtype=torch.float32).flip(0)


def take_alpha_bars(scheduler, last=None):
    """Gives a scheduler all of our schedule's. `last`: of one rescaled to zero terminal SNR."""
    keys = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas")
    schedule = {key: scheduler.config[key] for key in keys} | {"rescale_betas_zero_snr": last is not None}
    scheduler.alphas_cumprod = our_alpha_bars(json.dumps(schedule)).clone()
    scheduler.has_our_levels = True
    if last:
        scheduler.alphas_cumprod[-1] = last
    if getattr(scheduler, "final_alpha_cumprod", 1) != 1:
        scheduler.final_alpha_cumprod = scheduler.alphas_cumprod[0]


def ratios(rows):
    """sigma/alpha at which rows begin; infinite where alpha is 0."""
    return [math.inf if row["noise_ratio"] is None else row["noise_ratio"] for row in rows if row["denoise"]]


# Levels at which rows begin, and at which they arrive.


def alpha_bars(rows):
    return {*(1 / (1 + ratio**2) for ratio in ratios(rows)), *(row["state_alpha_bar"] for row in rows)}


def sigmas(rows):
    """sigma/alpha, as diffusers calls sigma."""
    return {*ratios(rows), *(row["state_sigma"] / row["state_alpha_bar"] ** 0.5 for row in rows)}


def flow_sigmas(rows):
    return {*(1 / (1 + 1 / ratio) for ratio in ratios(rows)), *(row["state_sigma"] for row in rows)}


def walk(scheduler, x, denoiser, streams, timesteps=None, before=lambda i: None, after=lambda i, x: x, **arguments):
    """diffusers' loop; `before` is called before, `after` changes x after each step; `arguments` of step."""
    if "generator" in inspect.signature(scheduler.step).parameters:
        arguments["generator"] = streams
    scale = getattr(scheduler, "scale_model_input", lambda x, t: x)
    with in_float64(scheduler) if x.dtype == torch.float64 else contextlib.nullcontext():
        for i, t in enumerate(scheduler.timesteps if timesteps is None else timesteps):
            before(i)
            out = denoiser(scale(x, t), t)
            x = after(i, scheduler.step(out, t, x, **arguments).prev_sample)
    return x
