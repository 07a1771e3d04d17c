"""denoiser.pt2: a package compiled ahead of time, beside denoiser.pt or instead of it."""

import hashlib
import json
import shutil
import warnings

import numpy as np
import pytest
import torch

from harness.api import pb, sample
from harness.models import SCHEDULER

SHAPE = (3, 8, 8)

# Compiling takes longer than a test may, and the first test waits for it, whichever it is.
pytestmark = pytest.mark.timeout(300)


class Traced(torch.nn.Module):
    """A diffusers model as TorchScript knows it: a tensor out."""

    def __init__(self, unet: torch.nn.Module):
        super().__init__()
        self.unet = unet

    def forward(self, x, t):
        return self.unet(x, t).sample


@pytest.fixture(scope="module")
def unet():
    from diffusers import UNet2DModel

    torch.manual_seed(0)
    return UNet2DModel(
        sample_size=SHAPE[1],
        in_channels=SHAPE[0],
        out_channels=SHAPE[0],
        layers_per_block=1,
        block_out_channels=(8,),
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
        attention_head_dim=8,  # in the middle
        norm_num_groups=4,
    ).eval()


@pytest.fixture(scope="module")
def folder(unet, tmp_path_factory):
    """The model with both files. Compiled with g++: half a minute."""
    from export_aotinductor import export

    folder = tmp_path_factory.mktemp("aotinductor") / "unet"
    folder.mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        traced = torch.jit.trace(Traced(unet), (torch.zeros(2, *SHAPE), torch.tensor([0, 10])))
    traced.save(str(folder / "denoiser.pt"))
    (folder / "scheduler_config.json").write_text(json.dumps(SCHEDULER))
    (folder / "model.json").write_text(json.dumps({"sample_shape": SHAPE, "default_steps": 10}))
    export(unet, folder, max_rows=32)
    return folder


REQUESTS = (
    dict(num_samples=1, seed=1),
    dict(num_samples=3, seed=2, sampler=pb.Sampler(kind=pb.Sampler.KIND_DDPM, steps=12)),
    dict(num_samples=20, seed=3, sampler=pb.Sampler(kind=pb.Sampler.KIND_HEUN, steps=6)),
)


def samples_of(server) -> list[np.ndarray]:
    return [sample(server.stub, **request).samples for request in REQUESTS]


def model_of(server) -> pb.Model:
    return server.stub.GetModel(pb.GetModelRequest(), timeout=10)


def difference(ours: list[np.ndarray], theirs: list[np.ndarray]) -> float:
    """max|a-b| / max|b|, the worst; the samples of a network that was never trained are large."""
    return max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in zip(ours, theirs, strict=True))


@pytest.fixture(scope="module")
def package(folder, start_shared_server):
    """A server that runs the package."""
    return start_shared_server("--executor", "aotinductor", "--devices", "cpu:2", model=folder)


def test_both_executors_draw_the_same(folder, package, start_server, report):
    script = start_server("--executor", "torchscript", model=folder)
    assert model_of(script).executor == "torchscript"
    model = model_of(package)
    assert (model.executor, model.layout, model.precision) == ("aotinductor", "contiguous", "float32")
    assert max(model.batch_sizes) <= 32
    worst = difference(samples_of(package), samples_of(script))
    report("worst difference of a sample between executors", f"{worst:.1e}")
    assert worst <= 1e-5


def test_a_package_alone_is_served(folder, package, start_server, tmp_path):
    alone = shutil.copytree(folder, tmp_path / "alone")
    (alone / "denoiser.pt").unlink()
    server = start_server("--batch-sizes", "1,2,4,8", model=alone)
    model = model_of(server)
    assert model.executor == "aotinductor"
    assert model.sha256 == hashlib.sha256((alone / "denoiser.pt2").read_bytes()).hexdigest()
    assert difference(samples_of(server), samples_of(package)) <= 1e-5


def test_it_unpacks_into_tmpdir_and_cleans_up(folder, start_server, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    environment = {"TMPDIR": str(scratch)}
    server = start_server("--executor", "aotinductor", model=folder, environment=environment)
    assert list(scratch.iterdir())
    server.stop()
    assert not list(scratch.iterdir())


def test_a_damaged_package_is_refused_and_not_run(folder, start_process, start_server, tmp_path):
    damaged = shutil.copytree(folder, tmp_path / "damaged")
    content = (damaged / "denoiser.pt2").read_bytes()
    (damaged / "denoiser.pt2").write_bytes(content[: len(content) // 2])
    process = start_process("--model", str(damaged), "--executor", "aotinductor")
    assert process.wait() != 0
    assert "denoiser.pt2: its sha256 is" in process.stderr, process.stderr
    # Beside a denoiser.pt that is served it does no harm, and the log says why it is not used.
    server = start_server(model=damaged)
    assert model_of(server).executor == "torchscript"
    assert server.stderr.count(f"warning {damaged}: not used: denoiser.pt2: its sha256 is") == 1


def test_the_report_compares_it_with_denoiser_pt(folder, start_process):
    process = start_process("--examine", str(folder), "--executor", "aotinductor")
    assert process.wait(60) == 0, process.stderr
    line = next(line for line in process.stdout.splitlines() if line.startswith("  batch sizes"))
    assert "from those of denoiser.pt" in line


@pytest.mark.slow
def test_in_bfloat16(unet, folder, start_server, tmp_path):
    from export_aotinductor import export

    half = shutil.copytree(folder, tmp_path / "half")
    export(unet, half, precision="bfloat16", max_rows=32)
    server = start_server("--executor", "aotinductor", model=half)
    assert model_of(server).precision == "bfloat16"
    expected = start_server("--executor", "torchscript", model=half)
    assert 1e-5 < difference(samples_of(server), samples_of(expected)) < 3e-2
