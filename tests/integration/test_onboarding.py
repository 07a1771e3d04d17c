"""On-boarding: models/import_diffusers.py and models/export.py, from a folder or a module to samples that
are what diffusers draws itself."""

import json
import sys

import diffusers
import numpy as np
import pytest
import torch

from harness.api import pb, sample, tensor
from harness.models import SCHEDULER, GaussianDenoiser
from harness.paths import DENOISED, DIGITS, ROOT
from harness.reference import draw, generators

sys.path.insert(0, str(ROOT / "models"))
import import_diffusers  # noqa: E402
from export import ExportError, export_module  # noqa: E402

SHAPE = (1, 16, 16)
SIZES = dict(
    sample_size=16, in_channels=1, out_channels=1, norm_num_groups=4, layers_per_block=1, attention_head_dim=4
)
BLOCKS = dict(
    block_out_channels=(8, 16),
    down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"),
)
# Small, since a server examines each of them.
ONE_BLOCK = dict(
    block_out_channels=(8,), down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",)
)
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
        "text": diffusers.UNet2DConditionModel(**SIZES, **CROSS_BLOCK, cross_attention_dim=WIDTH),
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
def server(imported, tmp_path_factory):
    from harness.server import Server

    models = [word for name in ("plain", "classes", "text") for word in ("--model", str(imported / name))]
    server = Server(tmp_path_factory.mktemp("server"), *models, "--devices", "cpu:1", "--batch-sizes", "1,4")
    try:
        yield server
        server.stop()
    finally:
        server.kill()
        server.close()


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
    described = {name: json.loads((imported / name / "model.json").read_text()) for name in ("plain", "classes", "text")}
    assert all(model["sample_shape"] == list(SHAPE) for model in described.values())
    assert (described["plain"]["levels"], described["plain"]["licence"]) == (256, "none")
    assert "num_classes" not in described["plain"] and "inputs" not in described["plain"]
    classes = described["classes"]
    assert (classes["num_classes"], classes["null_class"]) == (NULL, NULL)
    assert (classes["default_guidance_scale"], classes["default_steps"]) == (3, 20)
    assert described["text"]["name"] == "captioned"
    assert described["text"]["inputs"] == [
        {"name": "encoder_hidden_states", "kind": "condition", "dtype": "float32", "shape": [-1, WIDTH]}
    ]
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
    got = sample(
        server.stub, model="plain", num_samples=3, seed=5, sampler=dict(kind="KIND_DDIM", steps=STEPS)
    ).samples
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
        server.stub, model="classes", num_samples=2, seed=9, class_labels=labels.tolist(),
        sampler=dict(kind="KIND_DDIM", steps=STEPS),
    ).samples
    np.testing.assert_allclose(got, wanted, atol=TOLERANCE * max(1, np.abs(wanted).max()))


@pytest.mark.parametrize("tokens", [1, 9])
def test_hidden_states_are_a_condition(server, pipelines, tokens):
    unets, source = pipelines
    states = torch.randn((2, tokens, WIDTH), generator=torch.Generator().manual_seed(tokens))
    wanted = ddim(
        lambda x, t: unets["text"](x, t.expand(len(x)), states).sample, of_folder(source / "text"), seed=4, n=2
    )
    got = sample(
        server.stub, model="captioned", num_samples=2, seed=4, sampler=dict(kind="KIND_DDIM", steps=STEPS),
        conditions={"encoder_hidden_states": tensor(states.numpy())},
    ).samples
    np.testing.assert_allclose(got, wanted, atol=TOLERANCE * max(1, np.abs(wanted).max()))


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
    "config,said",
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


# --- A plain module.


class Answers(torch.nn.Module):
    """The Gaussian denoiser, answering in one of the ways that modules answer."""

    def __init__(self, how):
        super().__init__()
        self.inner = GaussianDenoiser()
        self.how = how

    def forward(self, x, t):
        return self.how(self.inner(x, t))


def test_plain_modules(start_server, tmp_path):
    answers = {"tensor": lambda a: a, "tuple": lambda a: (a,), "dict": lambda a: {"sample": a}}
    models = []
    for name, how in answers.items():
        export_module(
            Answers(how), tmp_path / name, sample_shape=(3, 8, 8), scheduler_config=SCHEDULER, default_steps=5
        )
        models += ["--model", str(tmp_path / name)]
    server = start_server(*models, "--devices", "cpu:1", "--batch-sizes", "1,4", model=None)
    assert {model.default_steps for model in server.stub.ListModels(pb.ListModelsRequest(), timeout=10).models} == {5}
    drawn = [sample(server.stub, model=name, seed=1, num_samples=2).samples for name in answers]
    assert np.isfinite(drawn[0]).all()
    assert all(np.array_equal(each, drawn[0]) for each in drawn[1:])


class Scaled(torch.nn.Module):
    """Has a condition with a null, before its labels."""

    def forward(self, x, t, scale, y):
        return x * (scale + y.view(-1, 1) + t.view(-1, 1) / 1000).view(-1, 1, 1, 1)


def test_inputs_in_their_order(start_server, tmp_path):
    inputs = [
        {"name": "scale", "kind": "condition", "dtype": "float32", "shape": [1], "null": 0},
        {"name": "label", "kind": "class_labels"},
    ]
    folder = export_module(
        Scaled(), tmp_path / "scaled", sample_shape=(1, 4, 4), scheduler_config=SCHEDULER, num_classes=2,
        inputs=inputs,
    )
    assert json.loads((folder / "model.json").read_text())["inputs"] == inputs
    server = start_server("--devices", "cpu:1", "--batch-sizes", "1,4", model=folder)
    model = server.stub.GetModel(pb.GetModelRequest(), timeout=10)
    assert [each.name for each in model.inputs] == ["scale", "label"]


def test_a_scripted_module_is_saved_as_it_is(tmp_path):
    module = torch.jit.script(GaussianDenoiser().eval())
    folder = export_module(module, tmp_path / "m", sample_shape=(3, 8, 8), scheduler_config=SCHEDULER)
    saved = torch.jit.load(str(folder / "denoiser.pt"))
    x, t = torch.randn(5, 3, 8, 8), torch.arange(5)
    assert torch.equal(saved(x, t), module(x, t))


def test_schedulers_are_taken_in_three_ways(tmp_path):
    scheduler = diffusers.DDIMScheduler(beta_schedule="squaredcos_cap_v2")
    scheduler.save_pretrained(tmp_path)
    file = tmp_path / "scheduler_config.json"
    ways = {"itself": scheduler, "file": file, "dict": json.loads(file.read_text())}
    for name, way in ways.items():
        export_module(GaussianDenoiser(), tmp_path / name, sample_shape=(3, 8, 8), scheduler_config=way)
        written = json.loads((tmp_path / name / "scheduler_config.json").read_text())
        assert written == ways["dict"], name
    with pytest.raises(ExportError, match="_class_name"):
        nameless = {key: value for key, value in ways["dict"].items() if key != "_class_name"}
        export_module(GaussianDenoiser(), tmp_path / "m", sample_shape=(3, 8, 8), scheduler_config=nameless)


class CountsRows(torch.nn.Module):
    def forward(self, x, t):
        rows = int(t.shape[0])  # a Python number, which the trace keeps
        return x * torch.arange(rows).view(-1, 1, 1, 1)


class Branches(torch.nn.Module):
    def forward(self, x, t):
        return x if float(x.sum()) > 0 else -x


class TakesOneTime(torch.nn.Module):
    def forward(self, x, t):
        return x * t.item()


class AnswersAnother(torch.nn.Module):
    def forward(self, x, t):
        return x.mean(dim=1)


class AnswersText(torch.nn.Module):
    def forward(self, x, t):
        return "x"


@pytest.mark.parametrize(
    "module,said",
    [
        (CountsRows(), "Python number"),
        (Branches(), "branches on values"),
        (TakesOneTime(), "cannot be called"),
        (AnswersAnother(), "must be"),
        (AnswersText(), "answers a str"),
        (torch.nn.Linear(8, 8), "cannot be called"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, torch.nn.Module) else "",
)
def test_modules_that_cannot_be_served(tmp_path, module, said):
    with pytest.raises(ExportError, match=said) as refused:
        export_module(module, tmp_path / "m", sample_shape=(3, 8, 8), scheduler_config=SCHEDULER)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "m" / "model.json").exists()


@pytest.mark.parametrize(
    "inputs,classes,said",
    [
        ([{"name": "a", "kind": "text"}], 0, "kind"),
        ([{"name": "a", "kind": "condition", "dtype": "float16", "shape": []}], 0, "dtype"),
        ([{"name": "a", "kind": "condition", "dtype": "int64", "shape": []}], 3, "class_labels"),
    ],
)
def test_inputs_that_make_no_sense(tmp_path, inputs, classes, said):
    with pytest.raises(ExportError, match=said):
        export_module(
            GaussianDenoiser(), tmp_path / "m", sample_shape=(3, 8, 8), scheduler_config=SCHEDULER,
            inputs=inputs, num_classes=classes,
        )


def test_the_bundled_model_exported_anew_is_the_same(tmp_path):
    """export_module on the module of models/digits gives what its own script saved."""
    saved = torch.jit.load(str(DIGITS / "denoiser.pt")).eval()
    sys.path.insert(0, str(ROOT / "models" / "digits"))
    from denoiser import Denoiser

    module = Denoiser()
    module.load_state_dict(saved.state_dict())
    folder = export_module(
        module, tmp_path / "again", sample_shape=(1, 28, 28), num_classes=10, null_class=10,
        scheduler_config=DIGITS / "scheduler_config.json",
    )
    again = torch.jit.load(str(folder / "denoiser.pt"))
    x, t, y = torch.randn(4, 1, 28, 28), torch.tensor([0.0, 10, 500.5, 999]), torch.tensor([0, 3, 9, 10])
    with torch.no_grad():
        torch.testing.assert_close(again(x, t, y), saved(x, t, y), atol=1e-5, rtol=1e-5)
