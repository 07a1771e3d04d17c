"""A pipeline's VAE becomes decoder.pt: what is served is what diffusers decodes itself."""

import json

import diffusers
import import_diffusers
import numpy as np
import pytest
import torch

from harness.api import pb, sample
from harness.paths import DENOISED
from harness.reference import draw, generators

LATENT = (4, 8, 8)
STEPS = 5
UNET = dict(
    sample_size=8,
    in_channels=4,
    out_channels=4,
    block_out_channels=(8,),
    norm_num_groups=4,
    layers_per_block=1,
    down_block_types=("DownBlock2D",),
    up_block_types=("UpBlock2D",),
)
KL = dict(
    latent_channels=4,
    block_out_channels=(8, 8),
    norm_num_groups=4,
    layers_per_block=1,
    down_block_types=("DownEncoderBlock2D",) * 2,
    up_block_types=("UpDecoderBlock2D",) * 2,
)


def make_vaes() -> dict:
    torch.manual_seed(3)
    return {
        "scaled": ("vae", diffusers.AutoencoderKL(**KL, scaling_factor=0.18215)),
        "shifted": ("vae", diffusers.AutoencoderKL(**KL, scaling_factor=0.3611, shift_factor=0.1159)),
        "quantised": ("vqvae", diffusers.VQModel(**KL, num_vq_embeddings=32, scaling_factor=0.5)),
    }


@pytest.fixture(scope="module")
def vaes():
    return {name: vae.eval() for name, (_, vae) in make_vaes().items()}


@pytest.fixture(scope="module")
def pipelines(tmp_path_factory):
    """Their pipelines as save_pretrained writes them, of random weights."""
    folder = tmp_path_factory.mktemp("pipelines")
    torch.manual_seed(7)
    unet = diffusers.UNet2DModel(**UNET)
    # v, since ε of random weights divides their rounding by the first α, which is 0.006.
    scheduler = diffusers.DDIMScheduler(prediction_type="v_prediction", clip_sample=False)
    for name, (part, vae) in make_vaes().items():
        unet.save_pretrained(folder / name / "unet")
        scheduler.save_pretrained(folder / name / "scheduler")
        vae.save_pretrained(folder / name / part)
    return folder


@pytest.fixture(scope="module")
def server(vaes, pipelines, start_shared_server, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    models = []
    for name in vaes:
        more = ["--denoised", str(DENOISED)] if name == "scaled" else []
        assert import_diffusers.main([str(pipelines / name), str(folder / name), *more]) == 0
        models += ["--model", str(folder / name)]
    return start_shared_server(*models, "--devices", "cpu:1", "--batch-sizes", "1,4", model=None)


@torch.inference_mode()
def decode(vae, latents: np.ndarray) -> np.ndarray:
    """As pipelines do, with their own factors."""
    latents = torch.from_numpy(latents.copy()) / vae.config.scaling_factor
    latents = latents + (getattr(vae.config, "shift_factor", None) or 0)
    return vae.decode(latents).sample.numpy()


@pytest.mark.parametrize("name", ["scaled", "shifted", "quantised"])
def test_what_is_served_is_what_diffusers_decodes(server, vaes, name):
    request = dict(model=name, num_samples=3, seed=5, sampler=dict(kind="KIND_DDIM", steps=STEPS))
    latents = sample(server.stub, **request).samples
    assert latents.shape == (3, *LATENT)
    got = sample(server.stub, decode=True, **request).samples
    wanted = decode(vaes[name], latents)
    assert got.shape == wanted.shape == (3, 3, 16, 16)
    assert np.abs(wanted).max() > 0.01, "nothing to compare"
    np.testing.assert_allclose(got, wanted, atol=1e-4 * max(1, np.abs(wanted).max()))
    model = server.stub.GetModel(pb.GetModelRequest(model=name), timeout=10)
    assert list(model.decoded_shape) == [3, 16, 16]


def test_pictures_are_those_of_ldm_pipeline(server, vaes, pipelines):
    """Against LDMPipeline's own loop, from its noise to its pictures."""
    unet = diffusers.UNet2DModel.from_pretrained(pipelines / "quantised" / "unet")
    scheduler = diffusers.DDIMScheduler.from_pretrained(pipelines / "quantised" / "scheduler")
    scheduler.set_timesteps(STEPS)
    x = draw(generators(5, 2), LATENT)
    with torch.inference_mode():
        for t in scheduler.timesteps:
            x = scheduler.step(unet(x, t).sample, t, x).prev_sample
    wanted = decode(vaes["quantised"], x.numpy())
    got = sample(
        server.stub, model="quantised", num_samples=2, seed=5, decode=True, sampler=dict(kind="KIND_DDIM", steps=STEPS)
    ).samples
    # A latent at a border between two codes may fall to either side.
    assert np.mean(np.abs(got - wanted) < 1e-3 * max(1, np.abs(wanted).max())) > 0.99


def test_without_its_decoder(pipelines, tmp_path):
    out = tmp_path / "out"
    assert import_diffusers.main([str(pipelines / "scaled"), str(out)]) == 0
    described = json.loads((out / "model.json").read_text())
    assert described["decoder"]["value_range"] == [-1, 1]
    assert import_diffusers.main([str(pipelines / "scaled"), str(out), "--force", "--no-decoder"]) == 0
    assert "decoder" not in json.loads((out / "model.json").read_text())
    assert not (out / "decoder.pt").exists(), "what was there before"


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (dict(_class_name="AutoencoderKLWan"), "AutoencoderKLWan"),
        (dict(latents_mean=[0, 0, 0, 0]), "latents_mean"),
        (dict(latent_channels=16), "16 channels"),
    ],
)
def test_vaes_that_are_not_imported(pipelines, tmp_path, capsys, config, said):
    source, target = pipelines / "scaled", tmp_path / "pipe"
    (target / "vae").mkdir(parents=True)
    for part in ("unet", "scheduler"):
        (target / part).symlink_to(source / part)
    theirs = json.loads((source / "vae" / "config.json").read_text())
    (target / "vae" / "config.json").write_text(json.dumps(theirs | config))
    assert import_diffusers.main([str(target), str(tmp_path / "out")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert not (tmp_path / "out").exists()
