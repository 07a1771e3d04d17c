#!/usr/bin/env python3
"""Writes scheduler_config.json and model.json for a model of improved-diffusion or guided-diffusion.

Takes the flags that such a model is trained and sampled with, by the same names, and says in this
project's terms what they mean; flags that do not concern the configuration are passed over. See
docs/guided_diffusion.md.

    python models/guided_diffusion_config.py --out FOLDER --name NAME \\
        --image_size 64 --learn_sigma True --noise_schedule cosine --diffusion_steps 4000
"""

import argparse
import json
import sys
from pathlib import Path


def flag(text: str) -> bool:
    """Their way to write a truth value."""
    if text.lower() in ("true", "t", "yes", "y", "1"):
        return True
    if text.lower() in ("false", "f", "no", "n", "0"):
        return False
    raise argparse.ArgumentTypeError(f"{text!r} is not one of True, False")


def scheduler_config(options: argparse.Namespace) -> dict:
    config = {
        "_class_name": "DDPMScheduler",
        "num_train_timesteps": options.diffusion_steps,
        "prediction_type": "sample" if options.predict_xstart else "epsilon",
        # Their samplers clip unless told --clip_denoised False.
        "clip_sample": options.clip_denoised,
        "clip_sample_range": 1.0,
        # A plain number of --timestep_respacing spreads the steps over both ends.
        "timestep_spacing": "linspace",
    }
    if options.noise_schedule == "linear":
        # Ho et al.'s 0.0001 to 0.02 are of 1000 steps, and are scaled to the same noise in others.
        scale = 1000 / options.diffusion_steps
        config |= {"beta_schedule": "linear", "beta_start": scale * 0.0001, "beta_end": scale * 0.02}
        if config["beta_end"] >= 1:
            raise SystemExit(
                f"--diffusion_steps {options.diffusion_steps}: the linear schedule's last beta would be "
                f"{config['beta_end']:g}, and must be below 1"
            )
    else:
        config["beta_schedule"] = "squaredcos_cap_v2"
    if options.learn_sigma:
        config["variance_type"] = "learned_range"
    else:
        config["variance_type"] = "fixed_small" if options.sigma_small else "fixed_large"
    return config


def model_json(options: argparse.Namespace) -> dict:
    described = {
        "name": options.name,
        "sample_shape": [3, options.image_size, options.image_size],
        "value_range": [-1, 1],
        "levels": 256,
        "default_steps": min(250, options.diffusion_steps),
    }
    if options.class_cond:
        # They have no null class: guidance there is by a classifier, which is not served.
        described["num_classes"] = options.num_classes
    return described


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--out", type=Path, required=True, help="the model folder; denoiser.pt goes there too")
    parser.add_argument("--name", required=True, help="of the model")
    parser.add_argument("--num_classes", type=int, default=1000, help="where --class_cond True")
    theirs = parser.add_argument_group("their flags, with their defaults")
    theirs.add_argument("--image_size", type=int, default=64)
    theirs.add_argument("--diffusion_steps", type=int, default=1000)
    theirs.add_argument("--noise_schedule", choices=["linear", "cosine"], default="linear")
    theirs.add_argument("--learn_sigma", type=flag, default=False)
    theirs.add_argument("--sigma_small", type=flag, default=False)
    theirs.add_argument("--predict_xstart", type=flag, default=False)
    theirs.add_argument("--clip_denoised", type=flag, default=True)
    theirs.add_argument("--class_cond", type=flag, default=False)
    theirs.add_argument("--rescale_timesteps", type=flag, default=False)
    options, others = parser.parse_known_args(arguments)

    options.out.mkdir(parents=True, exist_ok=True)
    for name, content in (("scheduler_config.json", scheduler_config(options)), ("model.json", model_json(options))):
        (options.out / name).write_text(json.dumps(content, indent=2) + "\n")
        print(options.out / name)
    passed_over = [word for word in others if word.startswith("--")]
    if passed_over:
        print("passed over, as they do not concern the configuration:", *passed_over)
    if options.rescale_timesteps and options.diffusion_steps != 1000:
        print(
            f"--rescale_timesteps True: the module is called with t times 1000/{options.diffusion_steps}; "
            "export one whose forward multiplies t by that"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
