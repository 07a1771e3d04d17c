"""Tables as the server makes them, and what server/diffusion/table.h says that they mean."""

import json
import os
import pathlib
import subprocess

import torch

# kMaxRegisters of table.h: columns of weights that are registers.
MAX_REGISTERS = 6
REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


def dump_table_program():
    build = pathlib.Path(os.environ.get("DENOISE_BUILD", REPOSITORY / "build"))
    program = build / "bin" / "dump_table"
    if not program.exists():
        raise FileNotFoundError(
            f"{program} is not there: build the target dump_table, or point DENOISE_BUILD at the build folder"
        )
    return program


def make_tables(requests):
    """The tables for `requests` (see dump_table.cc), in their order, by one run of the program."""
    lines = "".join(json.dumps(request) + "\n" for request in requests)
    answers = subprocess.run(
        [dump_table_program()], input=lines, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert len(answers) == len(requests)
    return [json.loads(answer) for answer in answers]


def draw(generators, shape):
    """One standard normal draw a sample, each from its own stream as [1, C, H, W] in float32."""
    return torch.cat([torch.randn((1, *shape[1:]), generator=g) for g in generators])


def threshold(x0, ratio, maximum):
    """Dynamic thresholding, as row.threshold says."""
    s = torch.quantile(x0.flatten(1).abs(), ratio, dim=1).clamp(1, maximum).view(-1, 1, 1, 1)
    return x0.clamp(-s, s) / s


def run_table(table, denoiser, generators, shape, dtype, image=None, known=None, mask=None):
    """The final x of len(generators) chains side by side, [n, C, H, W].

    `image`: what the chain starts from; `known` and `mask`: what rows blend with.
    """
    channels = shape[1]
    first = draw(generators, shape).to(dtype)
    x = first * table["initial_scale"]
    if image is not None:
        x = x + table["image_scale"] * image
    registers = [x] * table["registers"]
    for row in table["rows"]:
        out = x0 = second = None
        if row["denoise"]:
            out = denoiser(registers[0], torch.tensor(row["timestep"], dtype=dtype))
            out, second = out[:, :channels], out[:, channels:]
            x0 = row["p"] * registers[0] + row["q"] * out
            if row["clip"]:
                x0 = x0.clamp(-row["clip_range"], row["clip_range"])
            if row["threshold"]:
                x0 = threshold(x0, row["threshold_ratio"], row["threshold_max"])
        z = draw(generators, shape).to(dtype) if row["noise"] else None
        if row["variance"] == "learned":
            z = z * torch.exp(0.5 * second)
        elif row["variance"] == "learned_range":
            f = (second + 1) / 2
            z = z * torch.exp(0.5 * (f * row["log_var_max"] + (1 - f) * row["log_var_min"]))
        columns = [*registers, *[None] * (MAX_REGISTERS - len(registers)), out, x0, z]
        registers = [
            sum(weight * column for weight, column in zip(weights, columns, strict=True) if weight != 0)
            for weights in row["w"]
        ]
        if row["blend"] != "none":
            there = row["blend_alpha"] * known
            if row["blend"] != "known":
                fresh = row["blend"] == "fresh_noise"
                noise = draw(generators, shape).to(dtype) if fresh else first
                there = there + row["blend_sigma"] * noise
            registers[0] = mask * there + (1 - mask) * registers[0]
    return registers[0]
