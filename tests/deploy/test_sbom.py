"""deploy/sbom.py, of the Debian packages and of an image's file system."""

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packages import depends, field
from spdx_tools.spdx.model import ChecksumAlgorithm
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

from harness.paths import BIN, ROOT

# CPack compresses LibTorch.
pytestmark = pytest.mark.timeout(300)
PROVIDED_BY = {"libspdlog1.10-fmt9": "libspdlog1.10"}  # of what a package depends on
LIBTORCH = re.search(r"^torch==(\S+)", (ROOT / "requirements" / "torch.txt").read_text(), re.MULTILINE)[1]


def sbom(folder, what):
    subprocess.run([sys.executable, ROOT / "deploy" / "sbom.py", folder, what], check=True)
    document = parse_file(str(folder / f"{what.name}.spdx.json"))
    assert validate_full_spdx_document(document) == []
    return document


def sha256(element) -> str:
    return {each.algorithm: each.value for each in element.checksums}[ChecksumAlgorithm.SHA256]


def named(elements, name):
    return [each for each in elements if each.name == name]


def hash_of(path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def version_here(package: str) -> str:
    return subprocess.run(
        ["dpkg-query", "--show", "--showformat=${Version}", package], check=True, capture_output=True, text=True
    ).stdout


def test_of_the_packages(packages, tmp_path):
    for name, package in packages.items():
        document = sbom(tmp_path, package)
        ours = named(document.packages, name)[0]
        for needed in {PROVIDED_BY.get(each, each) for each in depends(package)}:
            assert [each.version for each in named(document.packages, needed)] == [version_here(needed)], needed
        held = subprocess.run(["dpkg-deb", "--contents", package], check=True, capture_output=True, text=True).stdout
        files = {line.split()[5] for line in held.splitlines() if line.startswith("-")}
        assert {each.name for each in document.files} == files
        assert sha256(next(each for each in document.packages if each.file_name)) == hash_of(package)
        assert ours.version == field(package, "Version")


@pytest.mark.parametrize(("program", "component"), [("denoised", "server"), ("denoise-viewer", "viewer")])
def test_of_an_image(program, component, tmp_path):
    root = tmp_path / program
    (root / "var/lib/dpkg").mkdir(parents=True)
    (root / "var/lib/dpkg/status").write_text(Path("/var/lib/dpkg/status").read_text())
    subprocess.run(
        ["cmake", "--install", BIN.parent, "--prefix", root / "usr/local", "--component", component],
        check=True,
        capture_output=True,
    )
    document = sbom(tmp_path, root)
    (binary,) = named(document.files, f"./usr/local/bin/{program}")
    assert sha256(binary) == hash_of(root / "usr/local/bin" / program)
    assert [each.version for each in named(document.packages, "libprotobuf32")] == [version_here("libprotobuf32")]
    assert [each.version for each in named(document.packages, "torch")] == ([LIBTORCH] if program == "denoised" else [])
