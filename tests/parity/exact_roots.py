"""Square roots as IEEE 754 has them.

torch takes float32 roots from MKL, which on some CPUs (AMD's) are off by a unit in the last place. Where the noise
level is near 0, 1 - ᾱ magnifies that to 1e-3, and what is compared is no longer a formula with a formula.
"""

import torch

_sqrt, _pow = torch.Tensor.sqrt, torch.Tensor.__pow__


def _exact_sqrt(x, *args, **kwargs):
    # A root in double, rounded to float32, is the root in float32 rounded once.
    return _sqrt(x.double()).to(x.dtype) if x.dtype == torch.float32 else _sqrt(x, *args, **kwargs)


def _exact_pow(x, exponent):
    return _exact_sqrt(x) if isinstance(exponent, float) and exponent == 0.5 else _pow(x, exponent)


def use(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "sqrt", _exact_sqrt)
    monkeypatch.setattr(torch, "sqrt", _exact_sqrt)
    monkeypatch.setattr(torch.Tensor, "__pow__", _exact_pow)
