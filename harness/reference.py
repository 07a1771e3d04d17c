"""What diffusers makes of the same model: the reference for samples."""

import functools
import json
from dataclasses import dataclass
from pathlib import Path

import diffusers
import numpy as np
import torch

# Beside a busy server more threads only wait for each other.
torch.set_num_threads(1)

# Each sampler of the API: its class in diffusers, and what makes that class this sampler.
SCHEDULERS = {
    "ddpm": (diffusers.DDPMScheduler, {}),
    "ddim": (diffusers.DDIMScheduler, {}),
    "euler": (diffusers.EulerDiscreteScheduler, {}),
    "euler_ancestral": (diffusers.EulerAncestralDiscreteScheduler, {}),
    "heun": (diffusers.HeunDiscreteScheduler, {}),
    "dpmpp_2m": (diffusers.DPMSolverMultistepScheduler, {}),
    "sde_dpmpp_2m": (diffusers.DPMSolverMultistepScheduler, {"algorithm_type": "sde-dpmsolver++"}),
    "dpmpp_3m": (diffusers.DPMSolverMultistepScheduler, {"solver_order": 3}),
    "unipc": (diffusers.UniPCMultistepScheduler, {}),
    "lms": (diffusers.LMSDiscreteScheduler, {}),
    "pndm": (diffusers.PNDMScheduler, {}),
    "deis": (diffusers.DEISMultistepScheduler, {}),
}
KINDS = {name: f"KIND_{name.upper()}" for name in SCHEDULERS}
STOCHASTIC = {"ddpm", "euler_ancestral", "sde_dpmpp_2m"}


def generators(seed: int, n: int) -> list[torch.Generator]:
    """The noise streams that a request's seed means."""
    return [torch.Generator("cpu").manual_seed(seed + i) for i in range(n)]


def draw(streams: list[torch.Generator], shape) -> torch.Tensor:
    """One draw of each stream, [n, C, H, W]."""
    return torch.cat([torch.randn((1, *shape), generator=g) for g in streams])


@dataclass(frozen=True)
class Guidance:
    scale: float = 1.0
    rescale: float = 0.0
    sigma_min: float = -1.0
    sigma_max: float = float("inf")
    negative: int | None = None  # a label; None: the null class

    def acts_at(self, noise_ratio: float) -> bool:
        return self.scale not in (0, 1) and self.sigma_min < noise_ratio <= self.sigma_max


class Reference:
    """A model folder, sampled by TorchScript and diffusers in Python."""

    def __init__(self, folder: Path):
        self.denoiser = torch.jit.load(str(folder / "denoiser.pt")).eval()
        self.config = json.loads((folder / "scheduler_config.json").read_text())
        self.model = json.loads((folder / "model.json").read_text())
        self.shape = tuple(self.model["sample_shape"])

    def scheduler(self, name: str, **overrides):
        kind, own = SCHEDULERS[name]
        config = self.config | own | overrides
        return kind.from_config({k: v for k, v in config.items() if not k.startswith("_")})

    @functools.cached_property
    def alpha_bars(self) -> np.ndarray:
        """[T]: the float32 numbers that models are trained at."""
        return self.scheduler("ddpm").alphas_cumprod.double().numpy()

    def _predict(self, x, t, labels, guidance: "Guidance", noise_ratio):
        n = x.shape[0]
        times = torch.full((n,), float(t))
        if labels is None:
            return self.denoiser(x, times)
        conditional = self.denoiser(x, times, labels)
        if not guidance.acts_at(noise_ratio):
            return conditional
        away_from = self.model["null_class"] if guidance.negative is None else guidance.negative
        negative = self.denoiser(x, times, torch.full_like(labels, away_from))
        out = negative + guidance.scale * (conditional - negative)
        if guidance.rescale == 0:
            return out
        deviations = [v.std(dim=(1, 2, 3), keepdim=True) for v in (conditional, out)]
        return guidance.rescale * out * deviations[0] / deviations[1] + (1 - guidance.rescale) * out

    def _noise_ratio(self, t) -> float:
        """σ/α at a whole t."""
        alpha_bar = self.alpha_bars[int(t)]
        return float(np.sqrt((1 - alpha_bar) / alpha_bar))

    @torch.inference_mode()
    def sample(
        self,
        name: str,
        steps: int,
        seed: int,
        n: int = 1,
        labels=None,
        guidance=1.0,
        eta=0.0,
        image=None,
        strength=1.0,
        known=None,
        mask=None,
        **overrides,
    ) -> np.ndarray:
        """[n, C, H, W]. `labels`: [n], or None: the null class where there is one. `guidance`: a
        scale or a Guidance. `image`: begins from it, noised, with the last ⌊steps·strength⌋ steps.
        `known`, `mask`: keeps the one where the other is 1, after every step. `overrides` go to the
        scheduler's configuration."""
        scheduler = self.scheduler(name, **overrides)
        scheduler.set_timesteps(steps)
        if not isinstance(guidance, Guidance):
            guidance = Guidance(guidance)
        if labels is None and self.model.get("null_class") is not None:
            labels = [self.model["null_class"]] * n
        if labels is not None:
            labels = torch.tensor(labels, dtype=torch.int64)
        streams = generators(seed, n)
        noise = draw(streams, self.shape)
        times = scheduler.timesteps
        if image is None:
            x = noise * scheduler.init_noise_sigma
        else:
            skipped = steps - int(steps * strength)
            times = times[skipped:]
            if hasattr(scheduler, "set_begin_index"):
                scheduler.set_begin_index(skipped)
            x = scheduler.add_noise(torch.as_tensor(image), noise, times[:1].expand(n))
        options = {"eta": eta} if name == "ddim" else {}
        if name in STOCHASTIC or name == "ddim":
            options["generator"] = streams
        for i, t in enumerate(times):
            ratio = self._noise_ratio(t)
            out = self._predict(scheduler.scale_model_input(x, t), t, labels, guidance, ratio)
            x = scheduler.step(out, t, x, **options).prev_sample
            if known is not None:
                there = torch.as_tensor(known)
                if i + 1 < len(times):
                    there = scheduler.add_noise(there, noise, times[i + 1 : i + 2].expand(n))
                x = torch.as_tensor(mask) * there + (1 - torch.as_tensor(mask)) * x
        return x.numpy()


def error_of(a: np.ndarray, b: np.ndarray) -> float:
    """max|a-b| / max(1, max|b|): how far a is from the reference b."""
    assert a.shape == b.shape, (a.shape, b.shape)
    return float(np.max(np.abs(a - b)) / max(1.0, float(np.max(np.abs(b)))))
