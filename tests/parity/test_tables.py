"""DDPM and DDIM tables beside diffusers' own schedulers, over the grid of their options.

Both are given the same small nonlinear denoiser and, sample by sample, the same
torch.Generator("cpu").manual_seed(seed + i). The error is max|a-b| / max(1, max|b|) over the final
sample.

What diffusers itself cannot do right is brought to what it means, never left out in silence:
  - DDIMScheduler does not know the schedule "sigmoid": it is given the same betas as trained_betas.
  - fixed_large_log takes the root of a negative logarithm (NaN): compared with its fixed_large.
  - learned takes the second channels for a variance, where they are a log variance: it is given
    their exponential.
  - fixed variances on a denoiser of 2C channels: it is given the first C.
  - trailing for some step counts has one time too many, the last of them -1: test_times leaves
    that one out.
Levels and the split of DDIM's variance are float32 numbers there, and for that reason also here
(noise_schedule.h, ddim.cc).
"""

import itertools
import json

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from tables import draw, make_tables, run_table

SHAPE = (2, 3, 4, 4)
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
ALLOWED = {"ddpm": 1e-3, "ddim": 1e-4}

torch.set_num_threads(1)


class Denoiser:
    """A fixed random network of two layers; twice the channels where it gives a variance too."""

    def __init__(self, channels_factor=1):
        generator = torch.Generator().manual_seed(1234)
        size = SHAPE[1] * SHAPE[2] * SHAPE[3]
        hidden = 32
        self.factor = channels_factor
        self.w1 = torch.randn(size, hidden, generator=generator) * size**-0.5
        self.bias = torch.randn(hidden, generator=generator)
        self.phase = torch.randn(hidden, generator=generator)
        self.w2 = torch.randn(hidden, size, generator=generator) * 1.5 * hidden**-0.5
        self.w3 = torch.randn(hidden, size, generator=generator) * hidden**-0.5

    def __call__(self, x, t):
        rate = 0.02 * float(t)
        hidden = torch.tanh(x.flatten(1) @ self.w1 + self.bias + torch.sin(self.phase * rate))
        out = (hidden @ self.w2).view(x.shape)
        if self.factor == 1:
            return out
        return torch.cat([out, torch.tanh(hidden @ self.w3).view(x.shape)], dim=1)


def generators(seed=7):
    return [torch.Generator("cpu").manual_seed(seed + i) for i in range(SHAPE[0])]


def run_diffusers(scheduler, steps, denoiser, adapt=lambda out: out, **step_arguments):
    """The final sample of diffusers' own loop, which is given adapt(out) of the denoiser's out."""
    scheduler.set_timesteps(steps)
    streams = generators()
    x = draw(streams, SHAPE) * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        out = adapt(denoiser(x, t))
        x = scheduler.step(out, t, x, generator=streams, **step_arguments).prev_sample
    return x


def error_between(ours, theirs):
    assert torch.isfinite(theirs).all(), "diffusers gave a value that is not finite"
    return ((ours - theirs).abs().max() / theirs.abs().max().clamp(min=1)).item()


class Comparison:
    """Collects runs, makes all of their tables at once, and compares each with diffusers."""

    def __init__(self, name, allowed, record_error):
        self.name = name
        self.allowed = allowed
        self.record_error = record_error
        self.runs = []

    def add(self, what, config, options, theirs, denoiser, learned_variance=False, **how_to_run_ours):
        """`theirs`: a function without arguments that gives diffusers' final sample."""
        request = {"config": config, "sampler": options, "learned_variance": learned_variance}
        self.runs.append((what, request, theirs, denoiser, how_to_run_ours))

    def check(self):
        tables = make_tables([request for _, request, *_ in self.runs])
        bad = []
        for (what, _, theirs, denoiser, how), table in zip(self.runs, tables, strict=True):
            assert "error" not in table, f"{what}: {table['error']}"
            ours = run_table(table, denoiser, generators(), SHAPE, **how)
            error = error_between(ours, theirs())
            self.record_error(self.name, error, self.allowed, what)
            if not error <= self.allowed:
                bad.append(f"{error:.2e} at {what}")
        assert not bad, f"{len(bad)} of {len(self.runs)} runs are off:\n" + "\n".join(bad[:20])


def file_of(scheduler):
    """The scheduler_config.json that diffusers would write."""
    return json.loads(scheduler.to_json_string())


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_ddpm(prediction, schedule, record_error):
    plain, doubled = Denoiser(), Denoiser(2)

    def first_channels(out):
        return out[:, : SHAPE[1]]

    def exp_of_second(out):
        return torch.cat([out[:, : SHAPE[1]], torch.exp(out[:, SHAPE[1] :])], dim=1)

    # variance_type of our file -> that of diffusers, the denoiser, what diffusers is given of it
    variances = {
        "fixed_small": ("fixed_small", plain, None),
        "fixed_small_log": ("fixed_small_log", plain, None),
        "fixed_large": ("fixed_large", doubled, first_channels),
        "fixed_large_log": ("fixed_large", plain, None),
        "learned": ("learned", doubled, exp_of_second),
        "learned_range": ("learned_range", doubled, None),
    }
    comparison = Comparison("ddpm", ALLOWED["ddpm"], record_error)
    for spacing, offset, clip, variance, steps in itertools.product(SPACINGS, (0, 1), (True, False), variances, STEPS):
        if offset and spacing != "leading" and variance != "fixed_small":
            continue  # Only leading uses the offset; that the others do not is seen once each.
        if variance.endswith("_log") and steps != 30:
            continue  # Another name for the variance before it.
        theirs_variance, denoiser, adapt = variances[variance]
        scheduler = DDPMScheduler(
            prediction_type=prediction,
            timestep_spacing=spacing,
            steps_offset=offset,
            clip_sample=clip,
            clip_sample_range=1.0 if offset else 1.5,
            variance_type=theirs_variance,
            **SCHEDULES[schedule],
        )
        arguments = {} if adapt is None else {"adapt": adapt}
        comparison.add(
            f"{prediction} {schedule} {spacing}+{offset} clip={clip} {variance} N={steps}",
            {**file_of(scheduler), "variance_type": variance},
            {"steps": steps},
            lambda s=scheduler, n=steps, d=denoiser, a=arguments: run_diffusers(s, n, d, **a),
            denoiser,
            learned_variance=denoiser is doubled,
        )
    comparison.check()


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_ddim(prediction, schedule, record_error):
    denoiser = Denoiser()
    keys = SCHEDULES[schedule]
    theirs_keys = {"trained_betas": DDPMScheduler(**keys).betas.tolist()} if schedule == "sigmoid" else keys
    comparison = Comparison("ddim", ALLOWED["ddim"], record_error)
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
            **theirs_keys,
        )
        config = {**file_of(scheduler), "trained_betas": None, **keys}
        options = {"steps": steps, "eta": eta, "use_clipped_model_output": use_clipped}
        comparison.add(
            f"{prediction} {schedule} {spacing}+{offset} to_one={to_one} clip={clip} eta={eta}"
            f" use_clipped={use_clipped} N={steps}",
            config,
            options,
            lambda s=scheduler, n=steps, e=eta, u=use_clipped: run_diffusers(
                s, n, denoiser, eta=e, use_clipped_model_output=u
            ),
            denoiser,
        )
    comparison.check()


@pytest.mark.parametrize("file_class", [DDPMScheduler, DDIMScheduler])
def test_either_sampler_from_either_file(file_class, record_error):
    """A file's keys count for every sampler; what it lacks is the chosen class's default."""
    denoiser = Denoiser()
    sparse = {"_class_name": file_class.__name__}
    files = [
        sparse,
        {**sparse, "timestep_spacing": "trailing", "clip_sample": False},
        {**sparse, "set_alpha_to_one": False, "variance_type": "fixed_large", "steps_offset": 1},
    ]
    for sampler, scheduler_class in (("ddpm", DDPMScheduler), ("ddim", DDIMScheduler)):
        comparison = Comparison(sampler, ALLOWED[sampler], record_error)
        for config in files:
            scheduler = scheduler_class.from_config(config)
            comparison.add(
                f"{sampler} from {config}",
                config,
                {"kind": sampler, "steps": 30},
                lambda s=scheduler: run_diffusers(s, 30, denoiser),
                denoiser,
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
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_every_training_step(prediction, spacing, record_error):
    """N = T = 1000, where the rounding of diffusers' float32 tables adds up over the rows."""
    denoiser = Denoiser()
    for sampler, scheduler_class in (("ddpm", DDPMScheduler), ("ddim", DDIMScheduler)):
        comparison = Comparison(f"{sampler} N=T", 1e-3, record_error)
        for schedule in ("linear", "squaredcos_cap_v2"):
            scheduler = scheduler_class(prediction_type=prediction, timestep_spacing=spacing, **SCHEDULES[schedule])
            comparison.add(
                f"{prediction} {schedule} {spacing} N=T",
                file_of(scheduler),
                {"steps": 1000},
                lambda s=scheduler: run_diffusers(s, 1000, denoiser),
                denoiser,
            )
        comparison.check()


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
