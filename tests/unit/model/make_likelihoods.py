"""Writes small models and the likelihood bound that a float64 reference finds for them.

    python make_likelihoods.py FOLDER

FOLDER/likelihood_PREDICTION_VARIANCE/ is a model each, VARIANCE what the denoiser's second C
channels say: "none", "range" (f in -1..1) or "log" (log variance). FOLDER/likelihoods.txt has the
samples and what is expected: see write_expected.

The formulas are transcribed from the papers, Ho et al. 2020 (equations 4 to 8 and 13) and Nichol &
Dhariwal 2021 (equation 15 and section 3.1), not from the server. Noise is torch's: sample i has the
stream torch.Generator("cpu").manual_seed(SEED + i), one draw a term, in descending t.
"""

import itertools
import json
import math
import pathlib
import sys

import torch
from torch import Tensor, nn

T = 300
SHAPE = [2, 3, 4]
SAMPLES = 2
SEED = 20
CONFIG = {
    "_class_name": "DDPMScheduler",
    "num_train_timesteps": T,
    "beta_schedule": "linear",
    "beta_start": 0.0004,
    "beta_end": 0.06,
}
PREDICTIONS = ["epsilon", "v_prediction", "sample"]
# variance_type -> what the denoiser's second channels say
VARIANCES = {"fixed_small": "none", "fixed_large": "none", "learned_range": "range", "learned": "log"}


def betas() -> Tensor:
    return torch.linspace(CONFIG["beta_start"], CONFIG["beta_end"], T, dtype=torch.float32).double()


def alpha_bars() -> Tensor:
    """The levels that diffusers trains and samples at, which are float32 numbers."""
    return torch.cumprod(1 - betas().float(), 0).double()


class Denoiser(nn.Module):
    """Nearly the best one for independent normal values of mean 0.1 and deviation 0.5."""

    def __init__(self, prediction: str, variance: str):
        super().__init__()
        self.prediction = prediction
        self.variance = variance
        self.register_buffer("alpha_bar", alpha_bars())
        self.register_buffer("log_beta", betas().log())
        self.mix = nn.Conv2d(SHAPE[0], 2 * SHAPE[0], 3, padding=1)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        channels = x.size(1)
        alpha_bar = self.alpha_bar[t.long()].to(x.dtype).view(-1, 1, 1, 1)
        alpha, sigma = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
        mix = torch.tanh(self.mix(x))
        epsilon = sigma * (x - 0.1 * alpha) / (0.25 * alpha_bar + sigma**2) + 0.3 * mix[:, :channels]
        x_0 = (x - sigma * epsilon) / alpha
        if self.prediction == "epsilon":
            out = epsilon
        elif self.prediction == "v_prediction":
            out = alpha * epsilon - sigma * x_0
        else:
            out = x_0
        if self.variance == "none":
            return out
        second = mix[:, channels:]
        if self.variance == "log":
            second = self.log_beta[t.long()].to(x.dtype).view(-1, 1, 1, 1) + second
        return torch.cat([out, second], dim=1)


def normal_cdf(x: Tensor) -> Tensor:
    return 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def discretised_log_likelihood(x_0: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    deviation = torch.exp(0.5 * log_variance)
    above = normal_cdf((x_0 + 1 / 255 - mean) / deviation)
    below = normal_cdf((x_0 - 1 / 255 - mean) / deviation)
    above = torch.where(x_0 > 0.999, torch.ones_like(above), above)
    below = torch.where(x_0 < -0.999, torch.zeros_like(below), below)
    return torch.log(torch.clamp(above - below, min=1e-12))


def normal_kl(mean1: Tensor, log_variance1: Tensor, mean2: Tensor, log_variance2: Tensor) -> Tensor:
    return 0.5 * (
        -1
        + log_variance2
        - log_variance1
        + torch.exp(log_variance1 - log_variance2)
        + (mean1 - mean2) ** 2 * torch.exp(-log_variance2)
    )


def bits(nats: Tensor) -> Tensor:
    return nats.flatten(1).mean(1) / math.log(2)


@torch.no_grad()
def bound(model: Denoiser, variance_type: str, clip: bool, x_0: Tensor, alpha_bar: Tensor):
    """total and prior bits per dimension, [n], and (bits, eps_mse, x_0_mse) for t = T-1 … 0."""
    generators = [torch.Generator("cpu").manual_seed(SEED + i) for i in range(len(x_0))]
    before = torch.cat([torch.ones(1, dtype=torch.float64), alpha_bar[:-1]])
    beta = 1 - alpha_bar / before
    posterior_variance = beta * (1 - before) / (1 - alpha_bar)
    log_posterior_variance = torch.log(torch.cat([posterior_variance[1:2], posterior_variance[1:]]))
    of_x_0 = beta * before.sqrt() / (1 - alpha_bar)
    of_x_t = (1 - before) * (1 - beta).sqrt() / (1 - alpha_bar)
    channels = x_0.shape[1]
    terms = []
    for t in reversed(range(T)):
        z = torch.cat([torch.randn((1, *SHAPE), generator=g) for g in generators]).double()
        alpha, sigma = alpha_bar[t].sqrt(), (1 - alpha_bar[t]).sqrt()
        x_t = alpha * x_0 + sigma * z
        out = model(x_t, torch.full((len(x_0),), t))
        out, second = out[:, :channels], out[:, channels:]
        if model.prediction == "epsilon":
            predicted = (x_t - sigma * out) / alpha
        elif model.prediction == "v_prediction":
            predicted = alpha * x_t - sigma * out
        else:
            predicted = out
        if clip:
            predicted = predicted.clamp(-1, 1)
        if variance_type == "fixed_small":
            log_variance = log_posterior_variance[t].expand_as(x_0)
        elif variance_type == "fixed_large":
            log_variance = (log_posterior_variance[1] if t == 0 else beta[t].log()).expand_as(x_0)
        elif variance_type == "learned_range":
            f = (second + 1) / 2
            log_variance = f * beta[t].log() + (1 - f) * log_posterior_variance[t]
        else:
            log_variance = second
        mean = of_x_0[t] * predicted + of_x_t[t] * x_t
        if t == 0:
            nats = -discretised_log_likelihood(x_0, mean, log_variance)
        else:
            true_mean = of_x_0[t] * x_0 + of_x_t[t] * x_t
            nats = normal_kl(true_mean, log_posterior_variance[t], mean, log_variance)
        epsilon = (x_t - alpha * predicted) / sigma
        mse = [((a - b) ** 2).flatten(1).mean(1) for a, b in ((epsilon, z), (predicted, x_0))]
        terms.append((bits(nats), *mse))
    zero = torch.zeros((), dtype=torch.float64)
    prior = bits(normal_kl(alpha_bar[-1].sqrt() * x_0, (1 - alpha_bar[-1]).log().expand_as(x_0), zero, zero))
    return prior + sum(term[0] for term in terms), prior, terms


def write_model(folder: pathlib.Path, model: Denoiser) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    torch.jit.script(model).save(str(folder / "denoiser.pt"))
    variance_type = {"none": "fixed_small", "range": "learned_range", "log": "learned"}
    config = CONFIG | {"prediction_type": model.prediction, "variance_type": variance_type[model.variance]}
    (folder / "scheduler_config.json").write_text(json.dumps(config))
    (folder / "model.json").write_text(json.dumps({"sample_shape": SHAPE, "levels": 256}))


def make_model(prediction: str, variance: str) -> Denoiser:
    torch.manual_seed(1)
    return Denoiser(prediction, variance)


def samples() -> Tensor:
    """Of 256 levels; some at both ends, of which the bins are open."""
    generator = torch.Generator("cpu").manual_seed(5)
    levels = torch.randint(0, 256, (SAMPLES, *SHAPE), generator=generator)
    levels[0, 0, 0, :2] = 0
    levels[1, 1, 0, :2] = 255
    # As a reader of pictures does it, in float32; those numbers are then the samples.
    return (levels.float() / 127.5 - 1).double()


def numbers(*tensors: Tensor) -> str:
    return " ".join(repr(value) for tensor in tensors for value in tensor.flatten().tolist())


def write_expected(path: pathlib.Path) -> None:
    """The first line: T, samples, seed, the samples' values. Then for each case its model's folder,
    variance_type, clip, total and prior of the samples, and of each term, in descending t, bits per
    dimension, eps_mse and x_0_mse of the samples."""
    x_0 = samples()
    lines = [f"{T} {SAMPLES} {SEED} {numbers(x_0)}"]
    for prediction, variance_type, clip in itertools.product(PREDICTIONS, VARIANCES, (0, 1)):
        model = make_model(prediction, VARIANCES[variance_type])
        total, prior, terms = bound(model.double(), variance_type, bool(clip), x_0, alpha_bars())
        values = numbers(total, prior, *(tensor for term in terms for tensor in term))
        name = f"likelihood_{prediction}_{model.variance}"
        lines.append(f"{name} {variance_type} {clip} {values}")
    path.write_text("\n".join(lines) + "\n")


def main(out: pathlib.Path) -> None:
    torch.set_num_threads(1)
    for prediction, variance in itertools.product(PREDICTIONS, sorted(set(VARIANCES.values()))):
        write_model(out / f"likelihood_{prediction}_{variance}", make_model(prediction, variance))
    write_expected(out / "likelihoods.txt")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
