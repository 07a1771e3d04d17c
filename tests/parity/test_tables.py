"""DDPM and DDIM tables beside diffusers' own schedulers, over the grid of their options.

What diffusers itself cannot do right is brought to what it means, never left out in silence:
  - DDIMScheduler does not know the schedule "sigmoid": it is given the same betas as trained_betas.
  - fixed_large_log takes the root of a negative logarithm (NaN): compared with its fixed_large.
  - learned takes the second channels for a variance, where they are a log variance: it is given
    their exponential.
  - fixed variances on a denoiser of 2C channels: it is given the first C.
  - trailing for some step counts has one time too many, the last of them -1: test_times leaves
    that one out.
The split of DDIM's variance is computed in float32 there, and for that reason also here (ddim.cc): where eta is not 0,
both run in float32.
"""

import itertools
import json
from functools import partial

import pytest
import torch
from comparison import DENOISERS, SHAPE, Comparison, Denoiser, our_sample, their_sample
from diffusers import DDIMScheduler, DDPMScheduler
from tables import make_tables

STEPS = (7, 30, 50)
PREDICTIONS = ("epsilon", "v_prediction", "sample")
SCHEDULES = {
    "linear": {"beta_schedule": "linear"},
    "scaled_linear": {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
    "squaredcos_cap_v2": {"beta_schedule": "squaredcos_cap_v2"},
    "sigmoid": {"beta_schedule": "sigmoid"},
    "trained_betas": {
        "trained_betas": [0.0002 + 0.03 * (i / 399) ** 2 for i in range(400)],
        "num_train_timesteps": 400,
    },
}
SPACINGS = ("leading", "trailing", "linspace")


def file_of(scheduler):
    """The scheduler_config.json that diffusers would write."""
    return json.loads(scheduler.to_json_string())


def add_ddim(comparison, what, scheduler, steps, eta, use_clipped_model_output=False, group="ddim", **config):
    """`config`: keys of the file in place of the scheduler's own."""
    arguments = {"eta": eta, "use_clipped_model_output": use_clipped_model_output}
    dtype = torch.float64 if eta == 0 else torch.float32
    comparison.add(
        group if eta == 0 else f"{group}, eta > 0, float32",
        f"{what} eta={eta} use_clipped={use_clipped_model_output} N={steps}",
        {**file_of(scheduler), **config},
        {"steps": steps, **arguments},
        partial(their_sample, scheduler, steps=steps, denoiser=DENOISERS[dtype], dtype=dtype, **arguments),
        dtype=dtype,
    )


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_ddpm(prediction, schedule, allowed_error):
    plain, doubled = DENOISERS[torch.float64], Denoiser(gives_variance=True).double()
    first_channels = lambda x, t: doubled(x, t)[:, : SHAPE[1]]  # noqa: E731

    def exp_of_second(x, t):
        out, log_variance = doubled(x, t).chunk(2, dim=1)
        return torch.cat([out, torch.exp(log_variance)], dim=1)

    # variance_type of our file -> that of diffusers, our denoiser, theirs
    variances = {
        "fixed_small": ("fixed_small", plain, plain),
        "fixed_small_log": ("fixed_small_log", plain, plain),
        "fixed_large": ("fixed_large", doubled, first_channels),
        "fixed_large_log": ("fixed_large", plain, plain),
        "learned": ("learned", doubled, exp_of_second),
        "learned_range": ("learned_range", doubled, doubled),
    }
    comparison = Comparison(allowed_error)
    for spacing, offset, clip, variance, steps in itertools.product(SPACINGS, (0, 1), (True, False), variances, STEPS):
        if offset and spacing != "leading" and variance != "fixed_small":
            continue  # Only leading uses the offset; that the others do not is seen once each.
        if variance.endswith("_log") and steps != 30:
            continue  # Another name for the variance before it.
        their_variance, denoiser, their_denoiser = variances[variance]
        scheduler = DDPMScheduler(
            prediction_type=prediction,
            timestep_spacing=spacing,
            steps_offset=offset,
            clip_sample=clip,
            clip_sample_range=1.0 if offset else 1.5,
            variance_type=their_variance,
            **SCHEDULES[schedule],
        )
        comparison.add(
            "ddpm",
            f"{prediction} {schedule} {spacing}+{offset} clip={clip} {variance} N={steps}",
            {**file_of(scheduler), "variance_type": variance},
            {"steps": steps},
            partial(their_sample, scheduler, steps=steps, denoiser=their_denoiser),
            partial(our_sample, denoiser=denoiser),
            learned_variance=denoiser is doubled,
        )
    comparison.check()


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_ddim(prediction, schedule, allowed_error):
    keys = SCHEDULES[schedule]
    their_keys = {"trained_betas": DDPMScheduler(**keys).betas.tolist()} if schedule == "sigmoid" else keys
    comparison = Comparison(allowed_error)
    for spacing, offset, to_one, clip, (eta, use_clipped), steps in itertools.product(
        SPACINGS,
        (0, 1),
        (True, False),
        (True, False),
        ((0.0, False), (0.5, False), (1.0, False), (0.0, True), (0.5, True)),
        STEPS,
    ):
        if offset and spacing != "leading" and eta != 0.5:
            continue  # As above.
        if not to_one and spacing != "leading" and eta != 0.5:
            continue  # Concerns the last row alone.
        if use_clipped and not clip:
            continue  # Refused here, as it would do nothing; test_refusals.
        scheduler = DDIMScheduler(
            prediction_type=prediction,
            timestep_spacing=spacing,
            steps_offset=offset,
            set_alpha_to_one=to_one,
            clip_sample=clip,
            clip_sample_range=1.0 if offset else 1.5,
            **their_keys,
        )
        what = f"{prediction} {schedule} {spacing}+{offset} to_one={to_one} clip={clip}"
        add_ddim(comparison, what, scheduler, steps, eta, use_clipped, **{"trained_betas": None, **keys})
    comparison.check()


@pytest.mark.parametrize("file_class", [DDPMScheduler, DDIMScheduler])
def test_either_sampler_from_either_file(file_class, allowed_error):
    """A file's keys count for every sampler; what it lacks is the chosen class's default."""
    sparse = {"_class_name": file_class.__name__}
    files = [
        sparse,
        {**sparse, "timestep_spacing": "trailing", "clip_sample": False},
        {**sparse, "set_alpha_to_one": False, "variance_type": "fixed_large", "steps_offset": 1},
    ]
    comparison = Comparison(allowed_error)
    for sampler, scheduler_class in (("ddpm", DDPMScheduler), ("ddim", DDIMScheduler)):
        for config in files:
            scheduler = scheduler_class.from_config(config)
            comparison.add(
                sampler,
                f"from {config}",
                config,
                {"kind": sampler, "steps": 30},
                partial(their_sample, scheduler, steps=30, denoiser=DENOISERS[torch.float64]),
            )
    comparison.check()


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_every_training_step(prediction, spacing, allowed_error):
    """N = T = 1000, where errors add up over the rows."""
    comparison = Comparison(allowed_error)
    for sampler, scheduler_class in (("ddpm", DDPMScheduler), ("ddim", DDIMScheduler)):
        for schedule in ("linear", "squaredcos_cap_v2"):
            scheduler = scheduler_class(prediction_type=prediction, timestep_spacing=spacing, **SCHEDULES[schedule])
            comparison.add(
                f"{sampler}, 1000 steps",
                f"{prediction} {schedule} {spacing}",
                file_of(scheduler),
                {"steps": 1000},
                partial(their_sample, scheduler, steps=1000, denoiser=DENOISERS[torch.float64]),
            )
    comparison.check()


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_levels(schedule):
    """Every level is diffusers' alphas_cumprod, but for the last bits of its betas."""
    scheduler = DDPMScheduler(**SCHEDULES[schedule])
    train_steps = scheduler.config.num_train_timesteps
    (table,) = make_tables([{"config": file_of(scheduler), "sampler": {"steps": train_steps}}])
    ours = [table["initial_alpha_bar"], *(row["state_alpha_bar"] for row in table["rows"][:-1])]
    ours = torch.tensor(ours, dtype=torch.float64).flip(0)
    theirs = scheduler.alphas_cumprod.double()
    assert ((ours - theirs).abs() / theirs).max() < 1e-6
    assert ((ours - theirs).abs() / (1 - theirs)).max() < 1e-6
    if schedule in ("squaredcos_cap_v2", "trained_betas"):  # Made in double there too.
        assert torch.equal(ours, theirs)


def test_a_request_overrides_the_file():
    """The same table, whether the file says it or the request."""
    said_by_file, said_by_request = make_tables(
        [
            {
                "config": {
                    "_class_name": "DDPMScheduler",
                    "timestep_spacing": "trailing",
                    "variance_type": "fixed_large",
                    "clip_sample_range": 2.0,
                },
                "sampler": {"steps": 30},
            },
            {
                "config": {"_class_name": "DDIMScheduler", "clip_sample": False},
                "sampler": {
                    "kind": "ddpm",
                    "steps": 30,
                    "spacing": "trailing",
                    "variance": "fixed_large",
                    "clip_sample": True,
                    "clip_sample_range": 2.0,
                },
            },
        ]
    )
    assert "error" not in said_by_file
    assert said_by_file == said_by_request


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("offset", [0, 1])
def test_times(spacing, offset):
    """The grids of every N up to T = 250, time by time."""
    train_steps = 250
    scheduler = DDIMScheduler(num_train_timesteps=train_steps, timestep_spacing=spacing, steps_offset=offset)
    counts = range(1, train_steps + 1)
    tables = make_tables([{"config": file_of(scheduler), "sampler": {"steps": steps}} for steps in counts])
    seen_too_many = 0
    for steps, table in zip(counts, tables, strict=True):
        scheduler.set_timesteps(steps)
        theirs = scheduler.timesteps.tolist()
        if theirs[0] >= train_steps:
            assert "past the last trained time" in table["error"]
            continue
        if len(theirs) == steps + 1 and theirs[-1] == -1:
            seen_too_many += 1
            theirs.pop()
        ours = [row["timestep"] for row in table["rows"]]
        # diffusers adds the stride up in binary, so exact halves can go the other way.
        assert len(ours) == len(theirs) == steps
        for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            half = 2 * i * train_steps % steps == 0 and i * train_steps % steps != 0
            assert a == b or (spacing == "trailing" and half and abs(a - b) == 1)
    assert spacing == "trailing" or seen_too_many == 0


def test_refusals():
    """Where an answer like diffusers' would be a wrong one, there is an error that says why."""
    ddim = {"_class_name": "DDIMScheduler"}
    cases = [
        ({**ddim, "steps_offset": 1}, {"steps": 1000}, "past the last trained time 999"),
        (ddim, {"steps": 1001}, "1001 is not in 1..1000"),
        ({**ddim, "clip_sample": False}, {"steps": 10, "use_clipped_model_output": True}, "nothing is clipped"),
        ({**ddim, "rescale_betas_zero_snr": True}, {"steps": 10}, "is not served"),
        ({**ddim, "use_lu_lambdas": True}, {"steps": 10}, "is not served"),
        ({"_class_name": "EDMEulerScheduler"}, {"steps": 10}, "EDMEulerScheduler"),
    ]
    answers = make_tables([{"config": c, "sampler": s} for c, s, _ in cases])
    for answer, (_, _, message) in zip(answers, cases, strict=True):
        assert message in answer["error"]
