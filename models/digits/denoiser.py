"""The digits denoiser: a small class-conditional UNet that predicts epsilon."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NUM_CLASSES = 10
NULL_CLASS = 10  # the label that stands for "no class" (classifier-free guidance)

TIMESTEPS, BETA_START, BETA_END = 1000, 1e-4, 0.02  # the linear schedule


def alpha_bars() -> Tensor:
    """The share of the signal's variance left at each t, in float64."""
    return torch.cumprod(1 - torch.linspace(BETA_START, BETA_END, TIMESTEPS, dtype=torch.float64), 0)


class TimeEmbedding(nn.Module):
    """Sinusoids of t, the same for int64 and float32 t."""

    def __init__(self, width: int):
        super().__init__()
        half = width // 2
        rates = torch.exp(torch.arange(half, dtype=torch.float64) * (-math.log(10000.0) / half))
        self.register_buffer("rates", rates.float())

    def forward(self, t: Tensor) -> Tensor:
        angles = t.to(torch.float32).unsqueeze(1) * self.rates.unsqueeze(0)
        return torch.cat([angles.sin(), angles.cos()], dim=1)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions; time and class shift and scale between them."""

    def __init__(self, channels_in: int, channels_out: int, width: int):
        super().__init__()
        self.norm_in = nn.GroupNorm(8, channels_in)
        self.conv_in = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.modulation = nn.Linear(width, 2 * channels_out)
        self.norm_out = nn.GroupNorm(8, channels_out)
        self.conv_out = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        # Zero weights make every block start as the identity, which trains faster.
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(self.conv_out.bias)
        self.skip = nn.Identity() if channels_in == channels_out else nn.Conv2d(channels_in, channels_out, 1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        h = self.conv_in(F.silu(self.norm_in(x)))
        scale, shift = self.modulation(condition).unsqueeze(2).unsqueeze(3).chunk(2, dim=1)
        h = self.norm_out(h) * (1.0 + scale) + shift
        return self.skip(x) + self.conv_out(F.silu(h))


class Attention(nn.Module):
    """Self-attention over the positions of a small feature map."""

    def __init__(self, channels: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(8, channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor) -> Tensor:
        n, c, height, width = x.shape
        qkv = self.qkv(self.norm(x)).reshape(n, 3, self.heads, c // self.heads, height * width)
        q, k, v = qkv.transpose(3, 4).unbind(1)
        h = F.scaled_dot_product_attention(q, k, v)
        return x + self.out(h.transpose(2, 3).reshape(n, c, height, width))


class Denoiser(nn.Module):
    """forward(x [N,1,28,28], t [N] int64 or float32, y [N] int64) -> epsilon [N,1,28,28].

    Three resolutions, 28 -> 14 -> 7, with attention at 7x7. Most of the width
    sits at 14x14 and 7x7: a 28x28 block of the same width costs four times as much.
    """

    def __init__(self, c28: int = 32, c14: int = 64, c7: int = 96, width: int = 128):
        super().__init__()
        self.time = nn.Sequential(TimeEmbedding(64), nn.Linear(64, width), nn.SiLU(), nn.Linear(width, width))
        self.label = nn.Embedding(NUM_CLASSES + 1, width)

        self.enter = nn.Conv2d(1, c28, 3, padding=1)
        self.down28 = ResidualBlock(c28, c28, width)
        self.to14 = nn.Conv2d(c28, c14, 3, stride=2, padding=1)
        self.down14 = ResidualBlock(c14, c14, width)
        self.to7 = nn.Conv2d(c14, c7, 3, stride=2, padding=1)
        self.down7 = ResidualBlock(c7, c7, width)
        self.attention = Attention(c7, heads=4)
        self.up7 = ResidualBlock(c7, c7, width)
        self.up14 = ResidualBlock(c7 + c14, c14, width)
        self.up28 = ResidualBlock(c14 + c28, c28, width)
        self.norm = nn.GroupNorm(8, c28)
        self.leave = nn.Conv2d(c28, 1, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)
        self.register_buffer("log_alpha_bars", alpha_bars().log().float())

    def forward(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        # The network itself predicts v = alpha epsilon - sigma x_0, so epsilon = alpha v + sigma x.
        # At high t epsilon is x but for a thousandth that decides the picture: a network
        # that gives epsilon directly must copy its input to that precision, and is slow to learn it.
        position = t.to(torch.float32).clamp(0.0, float(self.log_alpha_bars.shape[0] - 1))
        below = position.floor().to(torch.int64)
        above = position.ceil().to(torch.int64)
        log_alpha_bar = torch.lerp(self.log_alpha_bars[below], self.log_alpha_bars[above], position - below)
        log_alpha_bar = log_alpha_bar.view(-1, 1, 1, 1)
        alpha = (0.5 * log_alpha_bar).exp()
        sigma = (-log_alpha_bar.expm1()).sqrt()
        return alpha * self.predict_v(x, t, y).to(torch.float32) + sigma * x

    def predict_v(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        condition = F.silu(self.time(t) + self.label(y))
        x28 = self.down28(self.enter(x), condition)
        x14 = self.down14(self.to14(x28), condition)
        x7 = self.down7(self.to7(x14), condition)
        h = self.up7(self.attention(x7), condition)
        h = F.interpolate(h, scale_factor=2.0, mode="nearest")
        h = self.up14(torch.cat([h, x14], dim=1), condition)
        h = F.interpolate(h, scale_factor=2.0, mode="nearest")
        h = self.up28(torch.cat([h, x28], dim=1), condition)
        return self.leave(F.silu(self.norm(h)))
