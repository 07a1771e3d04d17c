"""On-boarding a diffusers pipeline: models/import_diffusers.py, from its folder to samples that are what
diffusers draws itself."""

import json

import diffusers
import import_diffusers
import numpy as np
import pytest
import torch

from harness.api import sample, tensor
from harness.paths import DENOISED
from harness.reference import draw, generators
from harness.server import ONE_ENGINE

SHAPE = (1, 16, 16)
SIZES = dict(sample_size=16, in_channels=1, out_channels=1, norm_num_groups=4, layers_per_block=1, attention_head_dim=4)
BLOCKS = dict(
    block_out_channels=(8, 16),
    down_block_types=("DownBlock2D", "AttnDownBlock2D"),
    up_block_types=("AttnUpBlock2D", "UpBlock2D"),
)
# Small, since a server examines each of them.
ONE_BLOCK = dict(block_out_channels=(8,), down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",))
CROSS_BLOCK = dict(
    block_out_channels=(8,), down_block_types=("CrossAttnDownBlock2D",), up_block_types=("CrossAttnUpBlock2D",)
)
NULL = 10
WIDTH = 12
STEPS = 10
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def pipelines(tmp_path_factory):
    """Three pipelines of random weights, saved by diffusers: name to UNet, and their folder."""
    folder = tmp_path_factory.mktemp("pipelines")
    torch.manual_seed(7)
    unets = {
        "plain": diffusers.UNet2DModel(**SIZES, **BLOCKS),
        "classes": diffusers.UNet2DModel(**SIZES, **ONE_BLOCK, num_class_embeds=NULL + 1),
        "text": diffusers.UNet2DConditionModel(**SIZES, **CROSS_BLOCK, cross_attention_dim=WIDTH, num_class_embeds=3),
    }
    # v, since ε of random weights divides their rounding by the first α, which is 0.006.
    plain = diffusers.DDIMScheduler(prediction_type="v_prediction")
    diffusers.DDIMPipeline(unets["plain"], plain).save_pretrained(folder / "plain")
    for name in ("classes", "text"):
        unets[name].save_pretrained(folder / name / "unet")
        scheduler = diffusers.DDIMScheduler(beta_schedule="squaredcos_cap_v2", clip_sample=False)
        scheduler.save_pretrained(folder / name / "scheduler")
    return {name: unet.eval() for name, unet in unets.items()}, folder


@pytest.fixture(scope="module")
def imported(pipelines, tmp_path_factory):
    """The model folders made of them."""
    _, source = pipelines
    folder = tmp_path_factory.mktemp("models")
    options = {
        "plain": ["--denoised", str(DENOISED), "--levels", "256", "--licence", "none"],
        "classes": ["--null-class", str(NULL), "--guidance", "3", "--steps", "20"],
        "text": ["--name", "captioned"],
    }
    for name, more in options.items():
        assert import_diffusers.main([str(source / name), str(folder / name), *more]) == 0
    return folder


@pytest.fixture(scope="module")
def server(imported, start_shared_server):
    models = [word for name in ("plain", "classes", "text") for word in ("--model", str(imported / name))]
    return start_shared_server(*models, *ONE_ENGINE, "--batch-sizes", "1,4", model=None)


@torch.inference_mode()
def ddim(predict, scheduler, seed: int, n: int) -> np.ndarray:
    """The loop of diffusers' own pipelines, from the noise that the seed means."""
    scheduler.set_timesteps(STEPS)
    x = draw(generators(seed, n), SHAPE)
    for t in scheduler.timesteps:
        x = scheduler.step(predict(x, t), t, x).prev_sample
    return x.numpy()


def of_folder(folder):
    return diffusers.DDIMScheduler.from_pretrained(folder / "scheduler")


def test_model_json_says_what_the_pipeline_is(pipelines, imported):
    _, source = pipelines
    described = {
        name: json.loads((imported / name / "model.json").read_text()) for name in ("plain", "classes", "text")
    }
    assert all(model["sample_shape"] == list(SHAPE) for model in described.values())
    assert (described["plain"]["levels"], described["plain"]["licence"]) == (256, "none")
    assert "num_classes" not in described["plain"] and "inputs" not in described["plain"]
    classes = described["classes"]
    assert (classes["num_classes"], classes["null_class"]) == (NULL, NULL)
    assert (classes["default_guidance_scale"], classes["default_steps"]) == (3, 20)
    assert described["text"]["name"] == "captioned"
    assert described["text"]["inputs"] == [
        {"name": "encoder_hidden_states", "kind": "condition", "dtype": "float32", "shape": [-1, WIDTH]},
        {"name": "class_labels", "kind": "class_labels"},
    ]
    assert described["text"]["num_classes"] == 3
    for name in described:
        theirs = source / name / "scheduler" / "scheduler_config.json"
        assert (imported / name / "scheduler_config.json").read_bytes() == theirs.read_bytes()


def test_samples_are_those_of_the_pipeline(server, pipelines):
    """Against DDIMPipeline itself, as pictures, which is all that it gives."""
    _, source = pipelines
    pipeline = diffusers.DDIMPipeline.from_pretrained(source / "plain")
    pipeline.set_progress_bar_config(disable=True)
    wanted = pipeline(
        batch_size=3, generator=generators(5, 3), num_inference_steps=STEPS, output_type="np"
    ).images.transpose(0, 3, 1, 2)
    got = sample(server.stub, model="plain", num_samples=3, seed=5, sampler=dict(kind="KIND_DDIM", steps=STEPS)).samples
    within = np.abs(got) < 1
    assert within.mean() > 0.2, "too few values are not clipped for this to say anything"
    np.testing.assert_allclose((got / 2 + 0.5).clip(0, 1), wanted, atol=TOLERANCE)


def test_class_labels_and_guidance(server, pipelines):
    unets, source = pipelines
    labels = torch.tensor([3, 0])

    def predict(x, t):
        times = t.expand(len(x))
        conditional = unets["classes"](x, times, labels).sample
        nothing = unets["classes"](x, times, torch.full_like(labels, NULL)).sample
        return nothing + 3 * (conditional - nothing)

    wanted = ddim(predict, of_folder(source / "classes"), seed=9, n=2)
    got = sample(
        server.stub,
        model="classes",
        num_samples=2,
        seed=9,
        class_labels=labels.tolist(),
        sampler=dict(kind="KIND_DDIM", steps=STEPS),
    ).samples
    np.testing.assert_allclose(got, wanted, atol=TOLERANCE * max(1, np.abs(wanted).max()))


@pytest.mark.parametrize("tokens", [1, 9])
def test_hidden_states_are_a_condition(server, pipelines, tokens):
    unets, source = pipelines
    states = torch.randn((2, tokens, WIDTH), generator=torch.Generator().manual_seed(tokens))
    labels = torch.tensor([2, 0])
    wanted = ddim(
        lambda x, t: unets["text"](x, t.expand(len(x)), states, class_labels=labels).sample,
        of_folder(source / "text"),
        seed=4,
        n=2,
    )
    got = sample(
        server.stub,
        model="captioned",
        num_samples=2,
        seed=4,
        sampler=dict(kind="KIND_DDIM", steps=STEPS),
        conditions={"encoder_hidden_states": tensor(states.numpy())},
        class_labels=labels.tolist(),
    ).samples
    np.testing.assert_allclose(got, wanted, atol=TOLERANCE * max(1, np.abs(wanted).max()))


def test_older_pipelines_are_one_folder(pipelines, imported, tmp_path):
    _, source = pipelines
    (tmp_path / "old").mkdir()
    for file in [*(source / "plain" / "unet").iterdir(), *(source / "plain" / "scheduler").iterdir()]:
        (tmp_path / "old" / file.name).symlink_to(file)
    assert import_diffusers.main([str(tmp_path / "old"), str(tmp_path / "out")]) == 0
    same = [torch.jit.load(str(folder / "denoiser.pt")) for folder in (tmp_path / "out", imported / "plain")]
    x, times = torch.randn(2, *SHAPE), torch.tensor([3.0, 700.0])
    with torch.no_grad():
        torch.testing.assert_close(same[0](x, times), same[1](x, times))


# --- What is refused, in one line.


def refusal(capsys, *arguments: str) -> str:
    assert import_diffusers.main([*arguments]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    return line


def changed(source, target, **config):
    """A copy of a pipeline whose UNet's config.json says otherwise."""
    (target / "unet").mkdir(parents=True)
    (target / "scheduler").symlink_to(source / "scheduler")
    for file in (source / "unet").iterdir():
        if file.name != "config.json":
            (target / "unet" / file.name).symlink_to(file)
    theirs = json.loads((source / "unet" / "config.json").read_text())
    (target / "unet" / "config.json").write_text(json.dumps(theirs | config))
    return target


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (dict(_class_name="SD3Transformer2DModel"), "SD3Transformer2DModel"),
        (dict(time_embedding_type="fourier"), "time_embedding_type"),
        (dict(class_embed_type="projection"), "class_embed_type"),
        (dict(addition_embed_type="text_time"), "SDXL"),
        (dict(in_channels=9), "9 channels"),
        (dict(sample_size=None), "--size"),
        (dict(class_embed_type="timestep"), "--num-classes"),
        (dict(up_block_types=["NoBlock2D"]), "diffusers cannot load it"),
    ],
)
def test_unets_that_are_not_served(pipelines, tmp_path, capsys, config, said):
    _, source = pipelines
    line = refusal(capsys, str(changed(source / "plain", tmp_path / "pipe", **config)), str(tmp_path / "out"))
    assert said in line
    assert not (tmp_path / "out" / "model.json").exists()


def test_folders_that_are_no_pipelines(pipelines, tmp_path, capsys):
    _, source = pipelines
    out = str(tmp_path / "out")
    assert "no folder" in refusal(capsys, str(tmp_path / "nowhere"), out)
    (tmp_path / "other" / "transformer").mkdir(parents=True)
    (tmp_path / "other" / "transformer" / "config.json").write_text("{}")
    assert "transformer" in refusal(capsys, str(tmp_path / "other"), out)
    half = changed(source / "plain", tmp_path / "half")
    (half / "scheduler").unlink()
    assert "scheduler_config.json" in refusal(capsys, str(half), out)
    pickled = changed(source / "plain", tmp_path / "pickled")
    (pickled / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    assert "--allow-pickle" in refusal(capsys, str(pickled), out)


def test_labels_that_there_are_not(pipelines, tmp_path, capsys):
    _, source = pipelines
    out = str(tmp_path / "out")
    assert "no class labels" in refusal(capsys, str(source / "plain"), out, "--null-class", "0")
    assert "11 labels" in refusal(capsys, str(source / "classes"), out, "--null-class", "11")


def test_what_is_there_is_kept(pipelines, imported, capsys):
    _, source = pipelines
    before = (imported / "plain" / "denoiser.pt").read_bytes()
    assert "--force" in refusal(capsys, str(source / "plain"), str(imported / "plain"))
    assert (imported / "plain" / "denoiser.pt").read_bytes() == before
