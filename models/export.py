"""Writes a model folder from a PyTorch module: traced, checked, described.

    from export import export_module
    export_module(module, "models/mine", sample_shape=(3, 32, 32), scheduler_config="scheduler_config.json")

docs/models.md has the whole way, and what is in a model folder. Needs torch alone.
"""

import hashlib
import inspect
import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

# Batch sizes of the check after tracing; the trace itself is of TRACED rows.
TRACED, CHECKED = 2, (1, 3, 5)
# Lengths that an open extent (-1) has in the trace, and in the check.
TRACED_LENGTH, CHECKED_LENGTHS = 7, (1, 4)
TOLERANCE = 1e-4  # of the largest value: what rounding explains, and no forgotten input does
DTYPES = {"float32": torch.float32, "int64": torch.int64, "bool": torch.bool}


class ExportError(Exception):
    """One line: what is wrong, and what would be right."""


class _Decoding(torch.nn.Module):
    """A decoder that answers a tensor."""

    def __init__(self, module: torch.nn.Module):
        super().__init__()
        self.module = module

    def forward(self, latents):
        return tensor_of(self.module(latents))


class _Positional(torch.nn.Module):
    """Called by position and answering a tensor, as the server wants it."""

    def __init__(self, module: torch.nn.Module):
        super().__init__()
        self.module = module

    def forward(self, x, t, *others):
        return tensor_of(self.module(x, t, *others))


def tensor_of(answer):
    """The tensor in what a denoiser answers: itself, a 1-tuple, or something with a `sample`."""
    if isinstance(answer, (tuple, list)) and len(answer) == 1:
        return answer[0]
    if isinstance(answer, Mapping) and "sample" in answer:
        return answer["sample"]
    if hasattr(answer, "sample"):
        return answer.sample
    if not isinstance(answer, torch.Tensor):
        raise ExportError(
            f"the module answers a {type(answer).__name__}: let it answer a tensor, a 1-tuple or a dict with `sample`"
        )
    return answer


def export_module(
    module: torch.nn.Module,
    folder: str | Path,
    *,
    sample_shape: Sequence[int],
    scheduler_config,
    num_classes: int = 0,
    null_class: int | None = None,
    inputs: Sequence[Mapping] | None = None,
    integer_time: bool = False,
    decoder: torch.nn.Module | None = None,
    decoded_range: Sequence[float] | None = None,
    **described,
) -> Path:
    """Writes denoiser.pt, scheduler_config.json, model.json, and decoder.pt where there is a decoder, into `folder`,
    which is made.

    module            called as module(x [N, *sample_shape] float32, t [N], then the inputs in their
                      order); answers [N, *sample_shape] (or 2C channels, with a learned variance) as a
                      tensor, a 1-tuple or something with `sample`. It is put into eval mode, its
                      parameters stop to require gradients, and it is traced; a ScriptModule is saved
                      as it is.
    sample_shape      (C, H, W)
    scheduler_config  a scheduler of diffusers, the path of the file that it writes, or a dict of what is in
                      that
    num_classes       of the labels y [N] int64 that it takes; 0: it takes none
    null_class        the label that means none, which guidance leads away from
    inputs            as in model.json, where it takes more than y
    integer_time      t is int64 and cannot be float32, so that no sampler with fractional times serves
    decoder           where samples are latents: what makes pictures of them, called as decoder(latents
                      [N, *sample_shape] float32), for the latents just as the denoiser has them, so that
                      whatever scaling and shift they need is done in it; answers [N, C, H, W] in one of the
                      forms above. Put into eval mode and traced likewise
    decoded_range     [min, max] of what it answers; [-1, 1]
    described         what else goes into model.json: name, value_range, levels, default_sampler,
                      default_steps, default_guidance_scale, data, licence. A None is left out

    What it saved is then compared with `module` for several batch sizes, times and lengths. Raises
    ExportError where they differ, and leaves no model.json, without which nothing is served.
    """
    folder = Path(folder)
    inputs = _inputs(num_classes, inputs)
    module = module.eval()
    for parameter in module.parameters():  # a ScriptModule has no requires_grad_ of its own
        parameter.requires_grad_(False)
    time = torch.int64 if integer_time else torch.float32
    scheduler = _scheduler_text(scheduler_config)
    steps = json.loads(scheduler).get("num_train_timesteps", 1000)

    def rows(n: int, length: int, seed: int) -> tuple[torch.Tensor, ...]:
        return _rows(n, length, seed, tuple(sample_shape), time, steps, inputs, num_classes)

    with torch.no_grad():
        saved = module
        if not isinstance(module, torch.jit.ScriptModule):
            saved = _trace(_Positional(module), rows(TRACED, TRACED_LENGTH, seed=0))
        _check(saved, module, rows, sample_shape)
        saved_decoder = None if decoder is None else _decoder(decoder, tuple(sample_shape))

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.json").unlink(missing_ok=True)  # until the others are whole
    saved.save(str(folder / "denoiser.pt"))
    (folder / "scheduler_config.json").write_text(scheduler)
    (folder / "decoder.pt").unlink(missing_ok=True)
    if saved_decoder is not None:
        saved_decoder.save(str(folder / "decoder.pt"))
    model = {"sample_shape": list(sample_shape), "num_classes": num_classes or None, "null_class": null_class}
    if any(one["kind"] == "condition" for one in inputs):
        model["inputs"] = [dict(one) for one in inputs]
    model |= described
    if saved_decoder is not None:
        model["decoder"] = {"value_range": list(decoded_range or (-1, 1)), "sha256": _sha256(folder / "decoder.pt")}
    model["sha256"] = _sha256(folder / "denoiser.pt")
    model = {key: value for key, value in model.items() if value is not None}
    (folder / "model.json").write_text(json.dumps(model, indent=2) + "\n")
    return folder


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _decoder(module: torch.nn.Module, shape: tuple[int, ...]) -> torch.jit.ScriptModule:
    """As it is saved: traced, and compared with the module for other numbers of latents."""
    module = module.eval()
    for parameter in module.parameters():
        parameter.requires_grad_(False)

    def latents(n: int) -> torch.Tensor:
        return torch.randn((n, *shape), generator=torch.Generator().manual_seed(n))

    saved = module
    if not isinstance(module, torch.jit.ScriptModule):
        saved = _trace(_Decoding(module), (latents(TRACED),))
    for n in (1, TRACED + 1):
        wanted = tensor_of(module(latents(n)))
        if wanted.dim() != 4 or wanted.shape[0] != n:
            raise ExportError(f"the decoder answers {list(wanted.shape)} for {n} latents: it must be [N, C, H, W]")
        try:
            got = tensor_of(saved(latents(n)))
        except Exception as error:
            raise ExportError(
                f"the decoder, traced with {TRACED} latents, cannot be called with {n} ({_first_line(error)}): take "
                "the batch size from a tensor's shape where it is used"
            ) from error
        difference = _difference(got, wanted)
        if not difference <= TOLERANCE:  # NaN too
            raise ExportError(
                f"the decoder as it was traced differs from the module by {difference:.1e} of its largest value at "
                f"{n} latents: it draws random numbers or branches on values; pass torch.jit.script(module)"
            )
    return saved


def _difference(got: torch.Tensor, wanted: torch.Tensor) -> float:
    """Of the largest value."""
    if got.shape != wanted.shape:
        return float("inf")
    return float((got - wanted).abs().max()) / max(1e-6, float(wanted.abs().max()))


def _inputs(num_classes: int, inputs: Sequence[Mapping] | None) -> list[Mapping]:
    """All that forward takes after x and t."""
    if inputs is None:
        return [{"name": "class_labels", "kind": "class_labels"}] if num_classes else []
    for one in inputs:
        if one.get("kind") not in ("class_labels", "condition"):
            raise ExportError(f"inputs: the kind of {one.get('name')!r} must be class_labels or condition")
        if one["kind"] == "condition" and (one.get("dtype") not in DTYPES or "shape" not in one):
            raise ExportError(f"inputs: {one.get('name')!r} needs a shape and a dtype of {', '.join(DTYPES)}")
    labels = sum(one["kind"] == "class_labels" for one in inputs)
    if labels != bool(num_classes):
        raise ExportError(f"inputs: num_classes is {num_classes}, and {labels} of them are class_labels")
    return list(inputs)


def _scheduler_text(given) -> str:
    """What scheduler_config.json is to hold; of a file, to the letter."""
    if hasattr(given, "to_json_string"):  # a scheduler, whose .config need not say its class
        text = given.to_json_string()
    elif isinstance(given, Mapping):
        text = json.dumps(dict(given), indent=2) + "\n"
    else:
        text = Path(given).read_text()
    if "_class_name" not in json.loads(text):
        raise ExportError(
            "scheduler_config: it has no _class_name, which says how the model is sampled: give the scheduler "
            "itself, or the file that its save_pretrained writes"
        )
    return text


def _rows(n, length, seed, shape, time, steps, inputs, num_classes) -> tuple[torch.Tensor, ...]:
    """Arguments of one call, every row unlike the others."""
    random = torch.Generator().manual_seed(seed)
    arguments = [torch.randn((n, *shape), generator=random), torch.randint(0, steps, (n,), generator=random).to(time)]
    for one in inputs:
        if one["kind"] == "class_labels":
            arguments.append(torch.randint(0, num_classes, (n,), generator=random))
            continue
        extents = (n, *(length if extent == -1 else extent for extent in one["shape"]))
        if one["dtype"] == "float32":
            arguments.append(torch.randn(extents, generator=random))
        else:
            arguments.append(torch.randint(0, 2, extents, generator=random).to(DTYPES[one["dtype"]]))
    return tuple(arguments)


def _trace(module: _Positional | _Decoding, arguments: tuple[torch.Tensor, ...]) -> torch.jit.ScriptModule:
    try:
        answer = module(*arguments)
    except Exception as error:
        taken = inspect.signature(module.module.forward)
        called = ", ".join(f"{a.dtype} {list(a.shape)}".removeprefix("torch.") for a in arguments)
        raise ExportError(f"forward{taken} cannot be called with ({called}): {_first_line(error)}") from error
    assert isinstance(answer, torch.Tensor)
    try:
        # What the tracer warns of may be harmless; _check finds what is not, with a better message.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", torch.jit.TracerWarning)
            return torch.jit.trace(module, arguments, check_trace=False)
    except Exception as error:
        raise ExportError(
            f"torch.jit.trace cannot follow the module ({_first_line(error)}): pass torch.jit.script(module)"
        ) from error


def _check(saved, module, rows, sample_shape) -> None:
    """That what was saved answers as the module does, whatever the number and the length of rows."""
    channels, *size = sample_shape
    for seed, n in enumerate(CHECKED, start=1):
        for length in CHECKED_LENGTHS:
            arguments = rows(n, length, seed)
            wanted = tensor_of(module(*arguments))
            if tuple(wanted.shape) not in ((n, channels, *size), (n, 2 * channels, *size)):
                raise ExportError(
                    f"the module answers {list(wanted.shape)} for x of {list(arguments[0].shape)}: it must be "
                    f"[N, {channels}, …], or [N, {2 * channels}, …] where the variance is learned"
                )
            try:
                got = tensor_of(saved(*arguments))
            except Exception as error:
                raise ExportError(
                    f"traced with {TRACED} rows, it cannot be called with {n} ({_first_line(error)}): forward "
                    "makes a Python number of the batch size; take it from a tensor's shape where it is used"
                ) from error
            difference = _difference(got, wanted)
            if not difference <= TOLERANCE:  # NaN too
                raise ExportError(
                    f"what was traced differs from the module by {difference:.1e} of its largest value at {n} "
                    "rows: forward branches on values or keeps some as Python numbers; compute with tensors "
                    "throughout, or pass torch.jit.script(module)"
                )


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if isinstance(error, RuntimeError) and lines else (lines or [type(error).__name__])[0]
