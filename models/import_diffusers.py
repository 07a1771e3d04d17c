#!/usr/bin/env python3
"""Makes a model folder of a diffusers pipeline's folder.

    python models/import_diffusers.py PIPELINE OUT --denoised build/bin/denoised

PIPELINE is what DiffusionPipeline.save_pretrained wrote, or a download of it: the UNet in unet/ (or beside
model_index.json), the scheduler's scheduler_config.json in scheduler/ (or there too). UNet2DModel is taken
with class labels and without, UNet2DConditionModel with `encoder_hidden_states` as a condition of requests. A VAE (vae/
or vqvae/) becomes decoder.pt, which makes pictures of what is sampled then, its scaling and shift done in it.
All are traced and compared with the originals, scheduler_config.json is copied as it is, and with
--denoised the result is examined. docs/models.md says more. Needs torch and diffusers.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import torch
from export import ExportError, export_module

CLASSES = ("UNet2DModel", "UNet2DConditionModel")
VAES = ("AutoencoderKL", "AutoencoderTiny", "VQModel")


class _Unet(torch.nn.Module):
    """A UNet2DModel, called by position."""

    def __init__(self, unet):
        super().__init__()
        self.unet = unet

    def forward(self, x, t, y=None):
        return self.unet(x, t, class_labels=y, return_dict=False)


class _ConditionedUnet(torch.nn.Module):
    """A UNet2DConditionModel, called by position."""

    def __init__(self, unet):
        super().__init__()
        self.unet = unet

    def forward(self, x, t, encoder_hidden_states, y=None):
        return self.unet(x, t, encoder_hidden_states, class_labels=y, return_dict=False)


class _Decoder(torch.nn.Module):
    """A VAE's decoder, of latents as its pipeline's denoiser has them."""

    def __init__(self, vae):
        super().__init__()
        self.vae = vae
        self.scaling = getattr(vae.config, "scaling_factor", None) or 1.0
        self.shift = getattr(vae.config, "shift_factor", None) or 0.0

    def forward(self, latents):
        if self.scaling != 1:
            latents = latents / self.scaling
        if self.shift != 0:
            latents = latents + self.shift
        return self.vae.decode(latents, return_dict=False)[0]


def find_vae(pipeline: Path) -> tuple[Path, dict] | None:
    """Its folder and its configuration, where the pipeline has one."""
    for folder in (pipeline / "vae", pipeline / "vqvae"):
        if not (folder / "config.json").is_file():
            continue
        config = json.loads((folder / "config.json").read_text())
        fix = "leave it out by --no-decoder, or wrap it and give it to export_module of models/export.py"
        if config.get("_class_name") not in VAES:
            raise ExportError(f"{folder}: it is a {config.get('_class_name')}: {', '.join(VAES)} are imported; {fix}")
        if config.get("latents_mean") or config.get("latents_std"):
            raise ExportError(
                f"{folder / 'config.json'}: latents_mean and latents_std, with which pipelines scale in different "
                f"ways, are not imported; {fix}"
            )
        return folder, config
    return None


def find(pipeline: Path) -> tuple[Path, Path]:
    """The UNet's folder, and the scheduler's file."""
    if not pipeline.is_dir():
        raise ExportError(f"{pipeline} is no folder: give one that save_pretrained wrote, or that was downloaded")
    unet = pipeline / "unet" if (pipeline / "unet").is_dir() else pipeline
    if not (unet / "config.json").is_file():
        there = sorted(folder.name for folder in pipeline.iterdir() if (folder / "config.json").is_file())
        raise ExportError(
            f"{unet / 'config.json'} is not there: a pipeline with a UNet is wanted"
            + (f"; this one has {', '.join(there)}, which export_module of models/export.py may take" if there else "")
        )
    for scheduler in (pipeline / "scheduler", pipeline):
        if (scheduler / "scheduler_config.json").is_file():
            return unet, scheduler / "scheduler_config.json"
    raise ExportError(f"{pipeline / 'scheduler' / 'scheduler_config.json'} is not there")


def refuse_what_is_not_served(config: dict) -> None:
    """What a UNet may ask for and a request cannot give."""
    name = config.get("_class_name")
    if name not in CLASSES:
        raise ExportError(
            f"the denoiser is a {name}: {' and '.join(CLASSES)} are imported; wrap another so that it takes "
            "(x, t, …) by position, and give it to export_module of models/export.py"
        )
    refused = {
        "time_embedding_type": (("positional",), "t is to be a time of the schedule, not a noise level"),
        "class_embed_type": ((None,) if name != "UNet2DModel" else (None, "timestep"), "labels are whole numbers"),
        "addition_embed_type": ((None,), "added_cond_kwargs are not imported, which SDXL needs"),
        "encoder_hid_dim_type": ((None, "text_proj"), "image embeddings are not imported"),
        "time_cond_proj_dim": ((None,), "timestep_cond is not imported, which LCMs need"),
    }
    for key, (served, why) in refused.items():
        if config.get(key, served[0]) not in served:
            raise ExportError(
                f"unet/config.json: {key} is {config[key]!r}: {why}; wrap the UNet and give it to export_module "
                "of models/export.py"
            )


def load(folder: Path, config: dict, allow_pickle: bool):
    import diffusers  # late, as it takes seconds

    if not list(folder.glob("*.safetensors*")) and not allow_pickle:
        raise ExportError(
            f"{folder} has no .safetensors file: other weights are Python pickles, which can run any code when "
            "they are read; if you trust them, --allow-pickle"
        )
    try:
        return getattr(diffusers, config["_class_name"]).from_pretrained(
            folder, torch_dtype=torch.float32, low_cpu_mem_usage=False, use_safetensors=not allow_pickle
        )
    except Exception as error:
        raise ExportError(f"{folder}: diffusers cannot load it: {str(error).splitlines()[0]}") from error


def sample_shape(config: dict, size: list[int] | None) -> tuple[int, int, int]:
    size = size or config.get("sample_size")
    if size is None:
        raise ExportError("unet/config.json has no sample_size: say --size HEIGHT WIDTH")
    height, width = (size, size) if isinstance(size, int) else size
    channels, out = config["in_channels"], config["out_channels"]
    if out not in (channels, 2 * channels):
        raise ExportError(
            f"the UNet takes {channels} channels and gives {out}: it must give as many, or twice as many where "
            "the variance is learned; further channels of the input (as of inpainting models) are not served"
        )
    return channels, height, width


def classes(config: dict, num_classes: int | None, null_class: int | None) -> int:
    """How many labels requests may give: those of the embedding, without a null class at its end."""
    embedded = config.get("num_class_embeds")
    if embedded is None and config.get("class_embed_type") is None:
        if num_classes or null_class is not None:
            raise ExportError("--num-classes, --null-class: the UNet takes no class labels")
        return 0
    if num_classes is None:
        if embedded is None:
            raise ExportError("unet/config.json does not say how many classes there are: say --num-classes")
        num_classes = embedded - 1 if null_class == embedded - 1 else embedded
    if embedded is not None and max(num_classes, (null_class or 0) + 1) > embedded:
        raise ExportError(f"--num-classes, --null-class: the UNet has {embedded} labels, from 0 on")
    return num_classes


def import_pipeline(options: argparse.Namespace) -> None:
    unet_folder, scheduler = find(options.pipeline)
    config = json.loads((unet_folder / "config.json").read_text())
    refuse_what_is_not_served(config)
    shape = sample_shape(config, options.size)
    num_classes = classes(config, options.num_classes, options.null_class)
    vae = None if options.no_decoder else find_vae(options.pipeline)
    if vae is not None and vae[1].get("latent_channels", shape[0]) != shape[0]:
        raise ExportError(
            f"{vae[0]}: it has latents of {vae[1]['latent_channels']} channels, and the UNet of {shape[0]}"
        )
    if options.out.exists() and any(options.out.iterdir()) and not options.force:
        raise ExportError(f"{options.out} is not empty: name another folder, or --force")

    unet = load(unet_folder, config, options.allow_pickle)
    decoder = None if vae is None else _Decoder(load(*vae, options.allow_pickle))
    inputs = None
    if config["_class_name"] == "UNet2DConditionModel":
        width = unet.config.encoder_hid_dim or unet.config.cross_attention_dim
        if not isinstance(width, int):
            raise ExportError(f"unet/config.json: cross_attention_dim is {width}: one number for all blocks is served")
        inputs = [{"name": "encoder_hidden_states", "kind": "condition", "dtype": "float32", "shape": [-1, width]}]
        if num_classes:
            inputs.append({"name": "class_labels", "kind": "class_labels"})
    export_module(
        (_Unet if inputs is None else _ConditionedUnet)(unet),
        options.out,
        sample_shape=shape,
        scheduler_config=scheduler,
        num_classes=num_classes,
        null_class=options.null_class,
        inputs=inputs,
        decoder=decoder,
        name=options.name or options.pipeline.resolve().name,
        value_range=options.value_range,
        levels=options.levels,
        default_steps=options.steps,
        default_guidance_scale=options.guidance,
        data=options.data,
        licence=options.licence,
    )
    print(f"{options.out}: {config['_class_name']}, samples of {' x '.join(map(str, shape))}, {num_classes} classes")
    if vae is not None:
        print(
            f"decoder.pt: {vae[1]['_class_name']}, for pictures, and for numbers where a request says decode; "
            "--value-range says what latents may be when a request begins from them"
        )
    if inputs is not None:
        print("requests give encoder_hidden_states [1 or n, tokens, width], made by the pipeline's own text encoder")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("pipeline", type=Path, metavar="PIPELINE")
    parser.add_argument("out", type=Path, metavar="OUT", help="the model folder")
    parser.add_argument("--name", help="of the model; else the pipeline folder's")
    parser.add_argument("--size", type=int, nargs=2, metavar=("H", "W"), help="where the UNet does not say it")
    parser.add_argument("--num-classes", type=int, help="else as many as the UNet has labels")
    parser.add_argument("--null-class", type=int, help="the label that was trained to mean none, for guidance")
    parser.add_argument("--value-range", type=float, nargs=2, metavar=("MIN", "MAX"), help="of samples; -1 1")
    parser.add_argument("--levels", type=int, help="256 for 8-bit pictures, which Evaluate needs to know")
    parser.add_argument("--steps", type=int, help="where a request does not say it")
    parser.add_argument("--guidance", type=float, help="where a request does not say it")
    parser.add_argument("--data", help="what it was trained on, as text for model.json")
    parser.add_argument("--licence", help="of the weights, as text for model.json")
    parser.add_argument("--no-decoder", action="store_true", help="leave the VAE out; callers decode")
    parser.add_argument("--allow-pickle", action="store_true", help="read weights that are no safetensors")
    parser.add_argument("--force", action="store_true", help="replace what is in OUT")
    parser.add_argument("--denoised", type=Path, help="the server's program, which then examines OUT")
    options = parser.parse_args(arguments)
    try:
        import_pipeline(options)
    except ExportError as error:
        print(f"import_diffusers: {error}", file=sys.stderr)
        return 1
    if options.denoised is None:
        print(f"now: denoised --examine {options.out}")
        return 0
    return subprocess.run([str(options.denoised), "--examine", str(options.out)], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
