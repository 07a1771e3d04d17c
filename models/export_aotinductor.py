"""Compile a model's denoiser ahead of time: writes denoiser.pt2 into its folder, and its hash into model.json.

    python models/export_aotinductor.py FOLDER    # FOLDER/denoiser.py: Denoiser, weights of denoiser.pt
    python models/export_aotinductor.py FOLDER --module net.py:Net --precision bfloat16

or, for any module, as a function; a diffusers model is one:

    from export_aotinductor import export
    export(UNet2DModel.from_pretrained("google/ddpm-cifar10-32"), "FOLDER")

FOLDER has model.json and scheduler_config.json already. TorchScript cannot be compiled: it takes the module in Python.
A package runs on one architecture (x86-64), from one instruction set on, with one release of LibTorch. This needs g++.
See docs/aotinductor.md.
"""

import argparse
import hashlib
import importlib.util
import json
import os
import pathlib
import platform
import sys
import tempfile

import torch
import torch._inductor
from torch import Tensor, nn
from torch._inductor import cpu_vec_isa

DTYPES = {"float32": torch.float32, "int64": torch.int64, "bool": torch.bool}
# What a package's answers may differ by from the module's, as the server has it too.
ROUNDING = {"float32": 1e-5, "bfloat16": 3e-2}
EXAMPLE_ROWS = 16
# Inductor compiles for the vectors of an instruction set, but lets g++ use everything that this machine has. So that
# the instruction set says all that a package needs, g++ is held to the level that goes with it.
LEVELS = {"avx2": "x86-64-v3", "avx512": "x86-64-v4"}


class Rows(nn.Module):
    """The module as the server calls it: a tensor out, in float32."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, *arguments: Tensor) -> Tensor:
        answer = self.module(*arguments)
        if not isinstance(answer, Tensor):  # a tuple, or a dict or an output of diffusers with "sample"
            answer = answer[0] if isinstance(answer, tuple | list) else answer["sample"]
        return answer.to(torch.float32)


def inputs_of(model: dict) -> list[dict]:
    """What forward takes after x and t, as model.json says it."""
    labels = [{"name": "class_labels", "kind": "class_labels"}] if model.get("num_classes", 0) > 0 else []
    return model.get("inputs", labels)


def example(model: dict, steps: int, rows: int, time: torch.dtype) -> tuple[Tensor, ...]:
    """Arguments of forward: rows that differ in all of them."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(rows, *model["sample_shape"], generator=generator)
    t = (torch.arange(rows) * 37 % steps).to(time)
    arguments = [x, t]
    for given in inputs_of(model):
        if given["kind"] == "class_labels":
            arguments.append(torch.arange(rows) % model["num_classes"])
            continue
        if -1 in given["shape"]:
            raise SystemExit(
                f"model.json: inputs: {given['name']}: has an extent of any size (-1), which is not compiled: "
                "give it a size, or serve denoiser.pt"
            )
        shape, dtype = (rows, *given["shape"]), DTYPES[given["dtype"]]
        value = torch.randn(shape, generator=generator)
        arguments.append(value if dtype == torch.float32 else (value > -1).to(dtype))
    return tuple(arguments)


def signature(arguments: tuple[Tensor, ...]) -> str:
    """As the server writes what it calls the package with; it compares the texts."""
    names = {dtype: name for name, dtype in DTYPES.items()}
    return ", ".join(f"{names[a.dtype]} [{', '.join(['N', *map(str, a.shape[1:])])}]" for a in arguments)


def difference(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max())


def first(arguments: tuple[Tensor, ...], rows: int) -> tuple[Tensor, ...]:
    return tuple(argument[:rows] for argument in arguments)


def time_of(rows: Rows, model: dict, steps: int) -> torch.dtype:
    """float32 where the module takes that for t and means the same by it, otherwise int64."""
    whole = example(model, steps, 4, torch.int64)
    try:
        answer = rows(whole[0], whole[1].float(), *whole[2:])
        return torch.float32 if difference(answer, rows(*whole)) <= 1e-6 else torch.int64
    except (RuntimeError, TypeError, IndexError):
        return torch.int64


def check(package, rows: Rows, arguments: tuple[Tensor, ...], precision: str) -> float:
    """The worst difference between package and module, over batch sizes on all sides of those that PyTorch tells
    apart when it chooses kernels for a convolution (1, and 16)."""
    most, few = len(arguments[0]), 5
    wanted = rows(*first(arguments, few))
    worst = 0.0
    for size in sorted({1, 2, 3, 4, 8, 15, 16, 17, 24, most}):
        if size > most:
            continue
        # Row i of the batch is row i modulo `few` of the arguments.
        order = torch.arange(size) % few
        answer = package(*(argument[order] for argument in arguments))
        worst = max(worst, difference(answer, wanted[order]))
        if not worst <= ROUNDING[precision]:
            raise SystemExit(
                f"the package's answers to {size} rows are apart by {worst:.1e} of their size from the module's, "
                "more than rounding explains: nothing is written; serve denoiser.pt"
            )
    return worst


def export(
    module: nn.Module, folder: str | os.PathLike, precision: str = "float32", max_rows: int = 64, isa: str | None = None
) -> pathlib.Path:
    """Compiles `module`, float32, for batches of 1 to `max_rows` rows, and writes FOLDER/denoiser.pt2 and its hash.

    The module itself becomes float32, contiguous and without gradients.
    precision: "float32", or "bfloat16": under autocast, as `denoised --precision bfloat16` runs TorchScript.
    isa: "avx2", for every x86-64 CPU since 2013 or so; None: this machine's best.
    """
    if platform.machine() != "x86_64":
        raise SystemExit(f"{platform.machine()}: packages are compiled for x86_64 only: serve denoiser.pt")
    if max_rows < EXAMPLE_ROWS:
        raise SystemExit(f"max_rows: {max_rows} is less than {EXAMPLE_ROWS}")
    folder = pathlib.Path(folder)
    model = json.loads((folder / "model.json").read_text())
    steps = json.loads((folder / "scheduler_config.json").read_text()).get("num_train_timesteps", 1000)
    # Freezing a module with channels_last weights and a batch of any size gives wrong results (PyTorch 2.13).
    # Inductor turns contiguous ones around by itself.
    module = module.to(torch.float32, memory_format=torch.contiguous_format)
    rows = Rows(module.eval().requires_grad_(False))

    with (
        torch.no_grad(),
        torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"),
        torch._inductor.config.patch({"cpp.simdlen": 256 if isa == "avx2" else None}),
    ):
        level = LEVELS.get(str(cpu_vec_isa.pick_vec_isa()).split(" ")[0])
        if level is None:
            raise SystemExit(f"{cpu_vec_isa.pick_vec_isa()}: packages need a CPU with AVX2: serve denoiser.pt")
        time = time_of(rows, model, steps)
        arguments = example(model, steps, EXAMPLE_ROWS, time)
        batch = torch.export.Dim("batch", min=1, max=max_rows)
        program = torch.export.export(rows, arguments, dynamic_shapes=(tuple({0: batch} for _ in arguments),))
        configuration = {
            # Makes constants of the weights, and oneDNN's convolutions of all convolutions, which give the same
            # layout for every batch size. Without it the layout can change at 16 rows, which compiled code ignores.
            "freezing": True,
            # That same change, which does not happen then, would otherwise be checked for: "at least 16 rows".
            "aot_inductor.check_lowerbound": False,
            "cpp.dynamic_threads": True,  # as many as the server's replica has, not as many as here
            "cpp.march": level,
            "aot_inductor.metadata": {
                "denoise_signature": signature(arguments),
                "denoise_max_rows": str(max_rows),
                "denoise_precision": precision,
                "denoise_torch": torch.__version__.split("+")[0],
            },
        }
        with tempfile.TemporaryDirectory(dir=folder, prefix=".export-") as scratch:
            path = pathlib.Path(scratch) / "denoiser.pt2"
            torch._inductor.aoti_compile_and_package(program, package_path=str(path), inductor_configs=configuration)
            package = torch._inductor.aoti_load_package(str(path))
            worst = check(package, rows, example(model, steps, max_rows, time), precision)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            path.replace(folder / "denoiser.pt2")
            described = pathlib.Path(scratch) / "model.json"
            described.write_text(json.dumps(model | {"sha256_pt2": digest}, indent=2) + "\n")
            described.replace(folder / "model.json")
    print(
        f"{folder / 'denoiser.pt2'}: {signature(arguments)}, {precision}, N up to {max_rows}, {level}, "
        f"apart by {worst:.1e} from the module"
    )
    return folder / "denoiser.pt2"


def load_module(folder: pathlib.Path, where: str) -> nn.Module:
    """FILE.py:CLASS, made without arguments, with the weights of FOLDER/denoiser.pt."""
    file, _, name = where.partition(":")
    path = folder / file
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    python = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(python)
    module = getattr(python, name)()
    module.load_state_dict(torch.jit.load(str(folder / "denoiser.pt"), map_location="cpu").state_dict())
    return module


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path, help="the model's folder")
    parser.add_argument(
        "--module", default="denoiser.py:Denoiser", help="FILE:CLASS, FILE in the folder (default: %(default)s)"
    )
    parser.add_argument("--precision", choices=list(ROUNDING), default="float32")
    parser.add_argument("--max-rows", type=int, default=64, help="largest batch (default: %(default)s)")
    parser.add_argument("--isa", choices=["avx2"], help="instruction set (default: the best that this machine has)")
    args = parser.parse_args()
    export(load_module(args.folder, args.module), args.folder, args.precision, args.max_rows, args.isa)


if __name__ == "__main__":
    main()
