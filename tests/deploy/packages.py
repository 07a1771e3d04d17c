"""Our Debian packages, as files."""

import re
import shutil
import subprocess
from pathlib import Path

from harness.paths import BIN


def make_packages(folder: Path, *options: str) -> dict[str, Path]:
    """Of the build that is tested: name to file."""
    command = ["cpack", "--config", BIN.parent / "CPackConfig.cmake", "-B", folder, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    shutil.rmtree(folder / "_CPack_Packages")
    return {path.name.split("_")[0]: path for path in folder.glob("*.deb")}


def field(package: Path, name: str) -> str:
    return subprocess.run(
        ["dpkg-deb", "--field", package, name], check=True, capture_output=True, text=True
    ).stdout.strip()


def depends(package: Path) -> set[str]:
    return set(re.findall(r"(?:^|, )([^ ,]+)", field(package, "Depends")))
