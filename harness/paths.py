"""Where the programs and the bundled model lie."""

import os
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(os.environ.get("DENOISE_BUILD", ROOT / "build")).resolve() / "bin"
DENOISED = BIN / "denoised"
DENOISE = BIN / "denoise"
# The bundled model; another with the same shape and classes can take its place.
DIGITS = Path(os.environ.get("DENOISE_TEST_MODEL", ROOT / "models" / "digits")).resolve()


def clean_environment() -> dict[str, str]:
    """This process's environment without the variables that are flags of the programs under test, but for those
    that have servers start at once, by the fixed rules, and take in more work than a caller would wait for: tests of
    tuning and of overload ask for them by flag."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("DENOISED_", "DENOISE_"))}
    return kept | {"DENOISED_TUNE_SECONDS": "0", "DENOISED_MAX_BACKLOG": "0"}


def program(name: str) -> str:
    """The path of a program that ./dev puts into .venv/bin, or that the machine has."""
    found = shutil.which(name, path=ROOT / ".venv" / "bin") or shutil.which(name)
    assert found, f"{name} is neither in .venv/bin nor on the PATH: ./dev test gets it"
    return found
