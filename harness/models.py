"""Model folders made for one test."""

import hashlib
import json
import shutil
from pathlib import Path

import torch

SCHEDULER = {
    "_class_name": "DDPMScheduler",
    "num_train_timesteps": 1000,
    "beta_start": 0.0001,
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "prediction_type": "epsilon",
    "variance_type": "fixed_small",
    "clip_sample": False,
    "timestep_spacing": "leading",
    "steps_offset": 0,
}


class GaussianDenoiser(torch.nn.Module):
    """The optimal denoiser (epsilon) of data that is N(0, deviation²) in every element."""

    def __init__(self, deviation: float = 0.5):
        super().__init__()
        betas = torch.linspace(0.0001, 0.02, 1000, dtype=torch.float64)
        alpha_bars = torch.cumprod(1 - betas, 0)
        variance = alpha_bars * deviation**2 + 1 - alpha_bars
        self.register_buffer("gain", ((1 - alpha_bars).sqrt() / variance).float())

    def forward(self, x, t):
        return self.gain[t.long()].view(-1, 1, 1, 1) * x


class TimelessDenoiser(torch.nn.Module):
    """Ignores t, as a module does that was traced with a Python number for it."""

    def forward(self, x, t):
        return 0.5 * x


class Alarm(torch.nn.Module):
    """Raises where any of x is true. A module of its own, because forward of such a one is inlined
    when the denoiser is frozen, which is where exceptions are hard to tell."""

    def forward(self, x):
        if bool(x.any()):
            raise RuntimeError("sick row")
        return x


class SickDenoiser(torch.nn.Module):
    """Fails on a row whose first value is above 100, as noise never is: by NaN in that row, or by an
    exception from the whole batch."""

    def __init__(self, raises: bool):
        super().__init__()
        self.inner = GaussianDenoiser()
        self.alarm = Alarm()
        self.raises = raises

    def forward(self, x, t):
        sick = x[:, :1, :1, :1] > 100
        if self.raises:
            sick = self.alarm(sick)
        return torch.where(sick, float("nan"), self.inner(x, t))


class SlowDenoiser(torch.nn.Module):
    """Takes its time: `loops` passes over a matrix, or, on a row whose first value is above 100, no end of them."""

    def __init__(self, loops: int = 0):
        super().__init__()
        self.inner = GaussianDenoiser()
        self.loops = loops
        self.register_buffer("matrix", torch.eye(256))

    def forward(self, x, t):
        loops = 1 << 60 if bool((x[:, :1, :1, :1] > 100).any()) else self.loops
        work = self.matrix
        for _ in range(loops):
            work = work @ self.matrix
        return self.inner(x, t) + 0 * work.sum()


class Upsampler(torch.nn.Module):
    """A decoder of random weights: latents [4, H, W] to pictures [3, 4H, 4W] in -1..1."""

    def __init__(self, seed: int = 0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.conv = torch.nn.ConvTranspose2d(4, 3, 4, stride=4)
        self.conv.weight = torch.nn.Parameter(torch.randn((4, 3, 4, 4), generator=generator) / 2)
        self.conv.bias = torch.nn.Parameter(torch.randn(3, generator=generator) / 10)

    def forward(self, latents):
        return torch.tanh(self.conv(latents))


class SickDecoder(torch.nn.Module):
    """Fails where a latent's first value is above 100, as SickDenoiser does."""

    def __init__(self, raises: bool):
        super().__init__()
        self.inner = Upsampler()
        self.alarm = Alarm()
        self.raises = raises

    def forward(self, latents):
        sick = latents[:, :1, :1, :1] > 100
        if self.raises:
            sick = self.alarm(sick)
        return torch.where(sick, float("nan"), self.inner(latents))


def write_decoder(folder: Path, module: torch.nn.Module) -> Path:
    """Gives a model folder this decoder."""
    torch.jit.script(module.eval()).save(str(folder / "decoder.pt"))
    described = json.loads((folder / "model.json").read_text())
    digest = hashlib.sha256((folder / "decoder.pt").read_bytes()).hexdigest()
    described["decoder"] = {"value_range": [-1, 1], "sha256": digest}
    (folder / "model.json").write_text(json.dumps(described))
    return folder


def write_model(folder: Path, module: torch.nn.Module, shape=(3, 8, 8), **model_json) -> Path:
    """Writes a model folder; its name is the folder's unless `name` is given."""
    folder.mkdir(parents=True)
    torch.jit.script(module.eval()).save(str(folder / "denoiser.pt"))
    (folder / "scheduler_config.json").write_text(json.dumps(SCHEDULER))
    digest = hashlib.sha256((folder / "denoiser.pt").read_bytes()).hexdigest()
    described = {"sample_shape": list(shape), "default_steps": 10, "sha256": digest} | model_json
    (folder / "model.json").write_text(json.dumps(described))
    return folder


def copy_model(source: Path, target: Path, **model_json) -> Path:
    """Copies the files of a model that are served; keys given here replace those of model.json, and
    None removes them."""
    target.mkdir(parents=True)
    for name in ("denoiser.pt", "scheduler_config.json"):
        shutil.copy(source / name, target / name)
    described = json.loads((source / "model.json").read_text()) | model_json
    described = {k: v for k, v in described.items() if v is not None}
    (target / "model.json").write_text(json.dumps(described))
    return target
