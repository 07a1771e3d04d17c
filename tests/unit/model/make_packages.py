"""Compiles one small network ahead of time, and writes it in many ways, right and wrong, for the tests of server/model.

    PYTHONPATH=models python make_packages.py FOLDER

Each becomes FOLDER/package_NAME/ with denoiser.pt2, mostly with denoiser.pt, scheduler_config.json and model.json.
"""

import hashlib
import json
import pathlib
import shutil
import sys
import zipfile

import torch
from export_aotinductor import export
from make_models import CLASSES, Net, save
from torch import nn

SHAPE = [3, 8, 8]


def model_with(folder: pathlib.Path, **changes) -> None:
    path = folder / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def package_with(folder: pathlib.Path, content: bytes) -> None:
    (folder / "denoiser.pt2").write_bytes(content)
    model_with(folder, sha256_pt2=hashlib.sha256(content).hexdigest())


def metadata_with(folder: pathlib.Path, **changes: str | None) -> None:
    """Changes what the package says of itself, and the hash to fit; None takes a key out."""
    path = folder / "denoiser.pt2"
    with zipfile.ZipFile(path) as package:
        files = {name: package.read(name) for name in package.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as package:
        for name, content in files.items():
            if name.endswith("_metadata.json"):
                changed = json.loads(content) | changes
                content = json.dumps({k: v for k, v in changed.items() if v is not None}).encode()  # noqa: PLW2901
            package.writestr(name, content)
    package_with(folder, path.read_bytes())


def main(out: pathlib.Path) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    good = out / "package_good"
    net = Net(3, 3, middle=nn.GroupNorm(4, 16)).eval()
    save(good, torch.jit.script(net), SHAPE, CLASSES)
    export(net, good, max_rows=24)

    def like(name: str) -> pathlib.Path:
        return pathlib.Path(shutil.copytree(good, out / f"package_{name}", dirs_exist_ok=True))

    (like("alone") / "denoiser.pt").unlink()
    content = (good / "denoiser.pt2").read_bytes()
    (like("truncated") / "denoiser.pt2").write_bytes(content[: len(content) // 2])
    (like("empty") / "denoiser.pt2").write_bytes(b"")
    model_with(like("without_hash"), sha256_pt2=None)
    package_with(like("garbage"), b"PK hello")
    model_with(like("another_shape"), sample_shape=[3, 8, 16])
    alone = like("another_signature")
    model_with(alone, num_classes=0, null_class=None)
    (alone / "denoiser.pt").unlink()  # or it would be refused for the same

    metadata_with(like("rewritten"))
    metadata_with(like("another_isa"), AOTI_CPU_ISA="AVX512 AVX10_2")
    metadata_with(like("without_isa"), AOTI_CPU_ISA=None)
    metadata_with(like("another_machine"), AOTI_MACHINE="aarch64", AOTI_CPU_ISA="ASIMD")
    metadata_with(like("cuda"), AOTI_DEVICE_KEY="cuda")
    metadata_with(like("another_torch"), denoise_torch="2.6.0")
    metadata_with(like("unknown"), denoise_signature=None)
    metadata_with(like("of_bfloat16"), denoise_precision="bfloat16")

    other = like("other_weights")
    save(
        other,
        torch.jit.script(Net(3, 3, middle=nn.GroupNorm(4, 16)).eval()),
        SHAPE,
        json.loads((good / "model.json").read_text()),
    )


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
