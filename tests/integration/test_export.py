"""On-boarding a plain PyTorch module: export_module of models/export.py."""

import json

import diffusers
import numpy as np
import pytest
import torch
from export import ExportError, export_module

from harness.api import pb, sample
from harness.models import SCHEDULER, GaussianDenoiser
from harness.paths import DIGITS
from harness.server import ONE_ENGINE


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
    server = start_server(*models, *ONE_ENGINE, "--batch-sizes", "1,4", model=None)
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
        Scaled(), tmp_path / "scaled", sample_shape=(1, 4, 4), scheduler_config=SCHEDULER, num_classes=2, inputs=inputs
    )
    assert json.loads((folder / "model.json").read_text())["inputs"] == inputs
    server = start_server(*ONE_ENGINE, "--batch-sizes", "1,4", model=folder)
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
    ("module", "said"),
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
    ("inputs", "classes", "said"),
    [
        ([{"name": "a", "kind": "text"}], 0, "kind"),
        ([{"name": "a", "kind": "condition", "dtype": "float16", "shape": []}], 0, "dtype"),
        ([{"name": "a", "kind": "condition", "dtype": "int64", "shape": []}], 3, "class_labels"),
    ],
)
def test_inputs_that_make_no_sense(tmp_path, inputs, classes, said):
    with pytest.raises(ExportError, match=said):
        export_module(
            GaussianDenoiser(),
            tmp_path / "m",
            sample_shape=(3, 8, 8),
            scheduler_config=SCHEDULER,
            inputs=inputs,
            num_classes=classes,
        )


def test_the_bundled_model_exported_anew_is_the_same(tmp_path):
    """export_module on the module of models/digits gives what its own script saved."""
    saved = torch.jit.load(str(DIGITS / "denoiser.pt")).eval()
    from digits.denoiser import Denoiser

    module = Denoiser()
    module.load_state_dict(saved.state_dict())
    folder = export_module(
        module,
        tmp_path / "again",
        sample_shape=(1, 28, 28),
        num_classes=10,
        null_class=10,
        scheduler_config=DIGITS / "scheduler_config.json",
    )
    again = torch.jit.load(str(folder / "denoiser.pt"))
    x, t, y = torch.randn(4, 1, 28, 28), torch.tensor([0.0, 10, 500.5, 999]), torch.tensor([0, 3, 9, 10])
    with torch.no_grad():
        torch.testing.assert_close(again(x, t, y), saved(x, t, y), atol=1e-5, rtol=1e-5)
