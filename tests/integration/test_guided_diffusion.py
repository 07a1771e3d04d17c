"""A model with the conventions of improved- and guided-diffusion gives what their formulas give.

Nichol & Dhariwal 2021, equations 9, 10, 15 and the respacing of section 4; written down here from the
paper, in float64.
"""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from harness.api import sample
from harness.models import write_model
from harness.paths import ROOT
from harness.reference import draw, error_of, generators

SHAPE = (3, 8, 8)
T = 500


class LearnedSigma(torch.nn.Module):
    """ε and the interpolation of the log variance, in [-1, 1], as 2C channels."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.mix = torch.nn.Conv2d(3, 6, 3, padding=1)

    def forward(self, x, t):
        time = (t.float() / 500).view(-1, 1, 1, 1)
        out = self.mix(x) * (1 - 0.5 * time)
        return torch.cat([0.9 * x * time + out[:, :3], torch.tanh(out[:, 3:])], 1)


def write_config(folder, *flags):
    subprocess.run(
        [
            sys.executable,
            ROOT / "models" / "guided_diffusion_config.py",
            "--out",
            folder,
            "--name",
            "guided",
            "--image_size",
            "8",
            "--diffusion_steps",
            str(T),
            *flags,
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )


@torch.inference_mode()
def ancestral(betas, steps, seed, n):
    """[n, C, H, W]: p_sample_loop over `steps` of T times, with x̂0 clipped and a learned range."""
    alpha_bars = np.cumprod(1 - betas)
    times = [round(i * (T - 1) / (steps - 1)) for i in range(steps)]
    previous = np.concatenate([[1.0], alpha_bars[times][:-1]])
    current = alpha_bars[times]
    spaced = 1 - current / previous
    posterior = spaced * (1 - previous) / (1 - current)
    posterior_log = np.log(np.concatenate([posterior[1:2], posterior[1:]]))
    model = LearnedSigma()
    streams = generators(seed, n)
    x = draw(streams, SHAPE)
    for i in reversed(range(steps)):
        answer = model(x, torch.full((n,), float(times[i]))).double()
        epsilon, mix = answer[:, :3], (answer[:, 3:] + 1) / 2
        x_0 = (x.double() - np.sqrt(1 - current[i]) * epsilon) / np.sqrt(current[i])
        x_0 = x_0.clamp(-1, 1)
        mean = (
            np.sqrt(previous[i]) * spaced[i] / (1 - current[i]) * x_0
            + np.sqrt(1 - spaced[i]) * (1 - previous[i]) / (1 - current[i]) * x.double()
        )
        log_variance = mix * np.log(spaced[i]) + (1 - mix) * posterior_log[i]
        noise = draw(streams, SHAPE) if i > 0 else 0
        x = (mean + torch.exp(0.5 * log_variance) * noise).float()
    return x.numpy()


def betas_of(schedule):
    if schedule == "linear":
        return np.linspace(0.0001 * 1000 / T, 0.02 * 1000 / T, T)
    f = [np.cos((i / T + 0.008) / 1.008 * np.pi / 2) ** 2 for i in range(T + 1)]
    return np.minimum(1 - np.array(f[1:]) / np.array(f[:-1]), 0.999)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_a_learned_range_on_their_schedules(start_server, tmp_path, schedule, report):
    folder = write_model(tmp_path / "guided", LearnedSigma(), SHAPE)
    write_config(folder, "--noise_schedule", schedule, "--learn_sigma", "True", "--use_fp16", "False")
    server = start_server(model=folder)
    for steps in (5, 26):
        got = sample(server.stub, seed=3, num_samples=2, sampler=dict(kind="KIND_DDPM", steps=steps)).samples
        error = error_of(got, ancestral(betas_of(schedule), steps, 3, 2))
        report(f"their {schedule} schedule, {steps} steps", f"{error:.2g}")
        assert error <= 1e-3


def test_what_the_flags_mean(tmp_path):
    write_config(tmp_path, "--sigma_small", "True", "--predict_xstart", "True", "--class_cond", "True")
    config = json.loads((tmp_path / "scheduler_config.json").read_text())
    assert config["variance_type"] == "fixed_small"
    assert config["prediction_type"] == "sample"
    assert config["beta_end"] == pytest.approx(0.04)
    assert json.loads((tmp_path / "model.json").read_text())["num_classes"] == 1000
