"""Writes the small TorchScript models, good and bad, that the tests of server/model load.

    python make_models.py FOLDER

Each becomes FOLDER/NAME/ with denoiser.pt, scheduler_config.json and model.json. FOLDER/noise.txt has what torch.randn
gives: lines of "seed count values…", count numbers for each of two draws in a row. FOLDER/quantiles.txt has what
torch.quantile gives: lines of "ratio quantile values…".
"""

import copy
import json
import pathlib
import sys
import warnings

import torch
from torch import Tensor, nn

Shape = list[int]
CLASSES = {"num_classes": 10, "null_class": 10}


class Formula(nn.Module):
    """x/2 + t/1000 + y. A row that begins with 1234 raises, with 4321 gives NaN, with 5678 takes a petabyte."""

    def forward(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        first = x[:, 0, 0, 0]
        if bool((first == 1234.0).any()):
            raise ValueError("a row begins with 1234")
        if bool((first == 5678.0).any()):
            x = torch.zeros(x.size(0) << 48)  # not a constant, which would be made at load
        shift = t.to(torch.float32) / 1000.0 + y.to(torch.float32)
        shift = torch.where(first == 4321.0, torch.full_like(shift, float("nan")), shift)
        return 0.5 * x + shift.view(-1, 1, 1, 1)


class LearnedVariance(nn.Module):
    """x/2 + t/1000, and x as the variance channels."""

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return torch.cat([0.5 * x + t.to(torch.float32).view(-1, 1, 1, 1) / 1000.0, x], dim=1)


class LearnedVarianceOfClasses(nn.Module):
    """(1 + y) x/2 + t/1000, and x + y as the variance channels: classes differ in spread, and in variance."""

    def forward(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        y = y.to(torch.float32).view(-1, 1, 1, 1)
        return torch.cat([(1 + y) * x / 2 + t.to(torch.float32).view(-1, 1, 1, 1) / 1000.0, x + y], dim=1)


class Net(nn.Module):
    """Convolutions with time and class; whatever is wanted can be put wrong."""

    def __init__(self, channels: int = 1, channels_out: int = 1, middle: nn.Module | None = None):
        super().__init__()
        self.enter = nn.Conv2d(channels, 16, 3, padding=1)
        self.middle = middle if middle is not None else nn.Identity()
        self.label = nn.Embedding(11, 16)
        self.leave = nn.Conv2d(16, channels_out, 3, padding=1)

    def forward(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        h = self.middle(self.enter(x))
        time = torch.sin(t.to(torch.float32) / 100.0).to(x.dtype)
        h = h + self.label(y).view(-1, 16, 1, 1) + time.view(-1, 1, 1, 1)
        return self.leave(torch.relu(h))


class Conditioned(nn.Module):
    """x/2 + t/1000 + y + the mean of text over its true places + sizes[1]/2 + weight, with y amid them."""

    def forward(
        self, x: Tensor, t: Tensor, text: Tensor, mask: Tensor, y: Tensor, sizes: Tensor, weight: Tensor
    ) -> Tensor:
        places = mask.to(text.dtype)
        mean = (text.mean(2) * places).sum(1) / places.sum(1)
        shift = t.to(torch.float32) / 1000.0 + y.to(torch.float32) + mean + 0.5 * sizes[:, 1].to(torch.float32) + weight
        return 0.5 * x + shift.view(-1, 1, 1, 1)


TEXT = {"name": "text", "kind": "condition", "dtype": "float32", "shape": [-1, 3], "null": 0}
CONDITIONS = [
    TEXT,
    {"name": "mask", "kind": "condition", "dtype": "bool", "shape": [-1], "null": True},
    {"name": "y", "kind": "class_labels"},
    {"name": "sizes", "kind": "condition", "dtype": "int64", "shape": [2], "null": [5, -4]},
    {"name": "weight", "kind": "condition", "dtype": "float32", "shape": []},
]


class FirstText(nn.Module):
    def forward(self, x: Tensor, t: Tensor, text: Tensor) -> Tensor:
        return x + t.to(torch.float32).view(-1, 1, 1, 1) / 1000.0 + text[:1].mean()


class NoTextUsed(nn.Module):
    def forward(self, x: Tensor, t: Tensor, text: Tensor) -> Tensor:
        return x + t.to(torch.float32).view(-1, 1, 1, 1) / 1000.0


class FixedText(nn.Module):
    """Made for texts of four words only, whatever model.json says."""

    def forward(self, x: Tensor, t: Tensor, text: Tensor) -> Tensor:
        return x + t.to(torch.float32).view(-1, 1, 1, 1) / 1000.0 + text.reshape(-1, 12).mean(1).view(-1, 1, 1, 1)


class WithText(nn.Module):
    """A network whose text is cast with it to half precision."""

    def __init__(self):
        super().__init__()
        self.net = Net()
        self.text = nn.Linear(3, 1)

    def forward(self, x: Tensor, t: Tensor, text: Tensor, y: Tensor) -> Tensor:
        return self.net(x, t, y) + self.text(text).mean(1).view(-1, 1, 1, 1)


class Fourier(nn.Module):
    """Filters by a Fourier transform, which the CPU has for float32 and float64 alone."""

    def __init__(self):
        super().__init__()
        self.net = Net()

    def forward(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return self.net(torch.fft.irfft2(torch.fft.rfft2(x)), t, y)


class Complex(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1, dtype=torch.complex64))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return torch.real(self.scale * x) + t.to(torch.float32).view(-1, 1, 1, 1)


class Random(nn.Module):
    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return x + t.to(torch.float32).view(-1, 1, 1, 1) + torch.rand_like(x)


class Positioned(nn.Module):
    """Differs in the last bits by the position in the batch."""

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        position = torch.arange(x.size(0)).to(torch.float32).view(-1, 1, 1, 1)
        return 0.5 * x * (1.0 + 2e-7 * position) + t.to(torch.float32).view(-1, 1, 1, 1) / 1000.0


class Sized(nn.Module):
    """Batches of up to 3, and those of more rows, agree each among themselves, and not with the others."""

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        scale = 0.5 if x.size(0) <= 3 else 0.5000001
        return scale * x + t.to(torch.float32).view(-1, 1, 1, 1) / 1000.0


class InIntegers(nn.Module):
    def forward(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return x.to(torch.int64)


class NoLabels(nn.Module):
    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return x + t.to(torch.float32).view(-1, 1, 1, 1)


class IntegerTime(nn.Module):
    """Looks t up, as models with learned embeddings of time do: float32 cannot be an index."""

    def __init__(self):
        super().__init__()
        self.time = nn.Embedding(1000, 1)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return x + self.time(t).view(-1, 1, 1, 1)


class Wrapped(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = Net()


class InTuple(Wrapped):
    def forward(self, x: Tensor, t: Tensor, y: Tensor) -> tuple[Tensor]:
        return (self.net(x, t, y),)


class InDict(Wrapped):
    def forward(self, x: Tensor, t: Tensor, y: Tensor) -> dict[str, Tensor]:
        return {"sample": self.net(x, t, y)}


class InList(Wrapped):
    def forward(self, x: Tensor, t: Tensor, y: Tensor) -> list[Tensor]:
        return [self.net(x, t, y)]


class TakesNumber(nn.Module):
    """What a diffusers pipeline does with the timestep when it is given as a Python number."""

    def forward(self, x: Tensor, t, y: Tensor) -> Tensor:
        t = t if isinstance(t, Tensor) else torch.tensor([t])
        return x + torch.sin(t.float() / 100.0).view(-1, 1, 1, 1) + y.view(-1, 1, 1, 1)


class TimeBakedIn(nn.Module):
    """Traced: the number's way into the module leaves no trace."""

    def __init__(self):
        super().__init__()
        self.inner = TakesNumber()

    def forward(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return self.inner(x, t[0].item(), y)


class FirstTime(nn.Module):
    def forward(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return x + y.view(-1, 1, 1, 1) + t[:1].to(torch.float32).view(-1, 1, 1, 1)


class FirstLabel(nn.Module):
    def forward(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return x + y[:1].view(-1, 1, 1, 1) + t.to(torch.float32).view(-1, 1, 1, 1)


class NoLabelUsed(nn.Module):
    def forward(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return x + t.to(torch.float32).view(-1, 1, 1, 1)


class NotFinite(nn.Module):
    def forward(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return x / (t * 0).view(-1, 1, 1, 1)


class InDouble(nn.Module):
    """Weights of float32, or none, and an answer of float64."""

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return x.double() + t.view(-1, 1, 1, 1)


class Raises(nn.Module):
    def forward(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        raise ValueError("never works")


class BatchBakedIn(nn.Module):
    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return x + t.to(torch.float32).view(1, 1, 1, 1)


class FewClasses(nn.Module):
    """An embedding without room for the last classes."""

    def __init__(self):
        super().__init__()
        self.label = nn.Embedding(5, 1)

    def forward(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return x + self.label(y).view(-1, 1, 1, 1) + t.to(torch.float32).view(-1, 1, 1, 1)


class TimeEmbedded(nn.Module):
    """An embedding of time whose frequencies are made where x is, as tracing then writes it down: on this device."""

    def __init__(self):
        super().__init__()
        self.time = nn.Linear(8, 3)

    def forward(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        frequencies = torch.exp(-torch.arange(8, device=x.device, dtype=torch.float32))
        time = self.time(torch.sin(t.to(torch.float32)[:, None] * frequencies))
        return 0.5 * x + time[:, :, None, None] + y.to(torch.float32).view(-1, 1, 1, 1)


class WrittenForCuda(nn.Module):
    """Names a device, in a function of its own and under a condition."""

    def offset(self, t: Tensor) -> Tensor:
        shift = torch.arange(1, device="cuda:0").to(torch.float32) + t.to(torch.float32) / 1000.0
        if bool((shift > 0.5).any()):
            shift = shift + torch.zeros(1, device="cuda")
        return shift

    def forward(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return 0.5 * x + (self.offset(t) + y.to(torch.float32)).view(-1, 1, 1, 1)


class Decode(nn.Module):
    """Latents [2, 3, 4] to [3, 6, 8]: twice the size, channel c being the sum of both plus c. A latent that begins with
    1234 raises, one with 4321 gives infinity, with 5678 takes a petabyte."""

    def forward(self, latents: Tensor) -> Tensor:
        first = latents[:, 0, 0, 0]
        if bool((first == 1234.0).any()):
            raise ValueError("latents begin with 1234")
        if bool((first == 5678.0).any()):
            latents = torch.zeros(latents.size(0) << 48)
        grey = latents.sum(1, keepdim=True).repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        grey = torch.where((first == 4321.0).view(-1, 1, 1, 1), torch.full_like(grey, float("inf")), grey)
        return torch.cat([grey, grey + 1, grey + 2], dim=1)


class DecodeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.ConvTranspose2d(2, 3, 2, stride=2)

    def forward(self, latents: Tensor) -> Tensor:
        return torch.tanh(self.conv(latents))


class DecodeTuple(nn.Module):
    def forward(self, latents: Tensor) -> tuple[Tensor]:
        return (latents,)


class DecodeLarge(nn.Module):
    """[1, 512, 1024]: half a million values, of which one fills a call."""

    def forward(self, latents: Tensor) -> Tensor:
        return latents.mean(dim=[1, 2, 3], keepdim=True).expand(latents.size(0), 1, 512, 1024)


class DecodeCoupled(nn.Module):
    def forward(self, latents: Tensor) -> Tensor:
        return latents - latents.mean()


class DecodeRandom(nn.Module):
    def forward(self, latents: Tensor) -> Tensor:
        return latents + torch.rand_like(latents)


class DecodeFlat(nn.Module):
    def forward(self, latents: Tensor) -> Tensor:
        return latents.flatten(1)


class DecodeNotFinite(nn.Module):
    def forward(self, latents: Tensor) -> Tensor:
        return latents / 0


class DecodeIntegers(nn.Module):
    def forward(self, latents: Tensor) -> Tensor:
        return latents.to(torch.int64)


class DecodeTwo(nn.Module):
    def forward(self, latents: Tensor, t: Tensor) -> Tensor:
        return latents + t


class DecodeOtherLatents(nn.Module):
    """Made for latents of four channels."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 3, 1)

    def forward(self, latents: Tensor) -> Tensor:
        return self.conv(latents)


def save_latent(out: pathlib.Path, name: str, decoder: nn.Module, decoder_json: dict | None = None) -> None:
    """Formula, with latents [2, 3, 4], and this decoder."""
    save(
        out / name,
        torch.jit.script(Formula()),
        [2, 3, 4],
        CLASSES | ({"decoder": decoder_json} if decoder_json else {}),
    )
    torch.jit.script(decoder).save(str(out / name / "decoder.pt"))


def trace(module: nn.Module, shape: Shape) -> torch.jit.ScriptModule:
    example = (torch.randn(2, *shape), torch.tensor([3, 500]), torch.tensor([1, 2]))
    return torch.jit.trace(module, example, check_trace=False)


def save(
    folder: pathlib.Path, module: torch.jit.ScriptModule, shape: Shape, model: dict, config: dict | None = None
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    module.save(str(folder / "denoiser.pt"))
    config = {"_class_name": "DDPMScheduler", "num_train_timesteps": 1000} | (config or {})
    (folder / "scheduler_config.json").write_text(json.dumps(config))
    (folder / "model.json").write_text(json.dumps({"sample_shape": shape} | model))


def write_noise(path: pathlib.Path) -> None:
    lines = []
    for seed in (0, 1, 42, 2**32 + 5):
        for shape in ([1, 1, 2, 3], [1, 2, 3, 4], [1, 1, 28, 28]):  # below and above 16, where torch changes its way
            generator = torch.Generator("cpu").manual_seed(seed)
            draws = [torch.randn(shape, generator=generator).flatten().tolist() for _ in range(2)]
            lines.append(" ".join(map(str, [seed, *shape[1:], *draws[0], *draws[1]])))
    path.write_text("\n".join(lines) + "\n")


def write_quantiles(path: pathlib.Path) -> None:
    lines = []
    generator = torch.Generator().manual_seed(0)
    for count in (1, 2, 10, 784, 3072):
        for ratio in (0.0, 0.3, 0.995, 1.0):
            values = torch.randn(count, generator=generator).abs()
            lines.append(" ".join(map(str, [ratio, torch.quantile(values, ratio).item(), *values.tolist()])))
    path.write_text("\n".join(lines) + "\n")


def main(out: pathlib.Path) -> None:
    warnings.simplefilter("ignore", torch.jit.TracerWarning)  # what it warns of is what is wanted here
    torch.manual_seed(0)
    torch.set_num_threads(1)
    grey = [1, 8, 8]
    script = torch.jit.script

    save(out / "formula", script(Formula()), [2, 3, 4], CLASSES | {"levels": 256})
    for shape in ([1, 2, 3], [2, 3, 4], [1, 28, 28]):
        save(out / ("plain_" + "x".join(map(str, shape))), script(NoLabels()), shape, {})
    learned_range = {"variance_type": "learned_range"}
    save(out / "learned_variance", script(LearnedVariance()), [2, 3, 4], {}, learned_range)
    save(out / "learned_variance_of_classes", script(LearnedVarianceOfClasses()), [2, 3, 4], CLASSES, learned_range)
    save(out / "convolutions", script(Net(3, 3)), [3, 8, 8], CLASSES)
    save(out / "traced_device", trace(TimeEmbedded(), [3, 8, 8]), [3, 8, 8], CLASSES)
    save(out / "written_for_cuda", script(WrittenForCuda()), [3, 8, 8], CLASSES)
    save(out / "traced", trace(Net().eval(), grey), grey, CLASSES)
    save(out / "tuple", trace(InTuple().eval(), grey), grey, CLASSES)
    save(out / "dict", script(InDict()), grey, CLASSES)
    save(out / "integer_time", script(IntegerTime()), grey, {})

    save(out / "time_baked_in", trace(TimeBakedIn(), grey), grey, CLASSES)
    # Right behind a convolution it would be folded into that when the module is frozen, and do no harm.
    save(
        out / "batch_norm_training",
        trace(Net(middle=nn.Sequential(nn.ReLU(), nn.BatchNorm2d(16))).train(), grey),
        grey,
        CLASSES,
    )
    save(out / "dropout", trace(Net(middle=nn.Dropout(0.5)).train(), grey), grey, CLASSES)
    save(out / "wrong_channels", script(Net(channels_out=3)), grey, CLASSES)
    save(out / "not_finite", script(NotFinite()), grey, CLASSES)
    save(out / "first_time", script(FirstTime()), grey, CLASSES)
    save(out / "first_label", script(FirstLabel()), grey, CLASSES)
    save(out / "no_label_used", script(NoLabelUsed()), grey, CLASSES)
    save(out / "two_arguments", script(NoLabels()), grey, CLASSES)
    save(out / "three_arguments", script(Net()), grey, {})
    save(out / "list", script(InList()), grey, CLASSES)
    save(out / "integers", script(InIntegers()), grey, CLASSES)
    save(out / "random", script(Random()), grey, {})
    # eval(), which the server calls, reaches what was scripted.
    save(
        out / "scripted_batch_norm",
        script(Net(middle=nn.Sequential(nn.ReLU(), nn.BatchNorm2d(16))).train()),
        grey,
        CLASSES,
    )
    save(out / "scripted_dropout", script(Net(middle=nn.Dropout(0.5)).train()), grey, CLASSES)

    text = {"inputs": [TEXT]}
    labelled_text = {"num_classes": 10, "null_class": 10, "inputs": [TEXT, {"name": "y", "kind": "class_labels"}]}
    save(out / "conditioned", script(Conditioned()), [2, 3, 4], {"num_classes": 10, "inputs": CONDITIONS})
    save(out / "first_text", script(FirstText()), grey, text)
    save(out / "no_text_used", script(NoTextUsed()), grey, text)
    save(out / "fixed_text", script(FixedText()), grey, text)

    net = Net(3, 3).eval()
    for name, dtype in (
        ("float32", torch.float32),
        ("float16", torch.float16),
        ("bfloat16", torch.bfloat16),
        ("float64", torch.float64),
    ):
        save(out / name, script(copy.deepcopy(net).to(dtype)), [3, 8, 8], CLASSES)
    net = WithText().eval()
    for name, dtype in (("text_float32", torch.float32), ("text_bfloat16", torch.bfloat16)):
        save(out / name, script(copy.deepcopy(net).to(dtype)), grey, labelled_text)
    save(out / "float16_fourier", script(Fourier().half()), grey, CLASSES)
    save(out / "complex", script(Complex()), grey, {})
    save(out / "double", script(InDouble()), grey, {})

    save(out / "positioned", script(Positioned()), grey, {})
    save(out / "sized", script(Sized()), grey, {})
    fixed = {"variance_type": "fixed_small"}
    save(out / "variance_left_out", script(LearnedVariance()), [2, 3, 4], {}, fixed)
    save(out / "raises", script(Raises()), grey, CLASSES)
    save(out / "batch_baked_in", script(BatchBakedIn()), grey, {})
    save(out / "few_classes", script(FewClasses()), grey, CLASSES)
    save(out / "no_variance", script(Net()), grey, CLASSES, learned_range)

    save_latent(out, "latent", Decode(), {"value_range": [0, 4]})
    save_latent(out, "latent_net", DecodeNet())
    save_latent(out, "latent_half", DecodeNet().half())
    save_latent(out, "latent_tuple", DecodeTuple())
    save_latent(out, "latent_large", DecodeLarge())
    save_latent(out, "latent_coupled", DecodeCoupled())
    save_latent(out, "latent_random", DecodeRandom())
    save_latent(out, "latent_flat", DecodeFlat())
    save_latent(out, "latent_not_finite", DecodeNotFinite())
    save_latent(out, "latent_integers", DecodeIntegers())
    save_latent(out, "latent_two_arguments", DecodeTwo())
    save_latent(out, "latent_other", DecodeOtherLatents())
    save_latent(out, "latent_no_module", DecodeNet())
    (out / "latent_no_module" / "decoder.pt").write_bytes(b"not a module")

    write_noise(out / "noise.txt")
    write_quantiles(out / "quantiles.txt")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
