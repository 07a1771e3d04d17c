"""Bills of materials, SPDX 2.3 as JSON: Debian's packages with their versions, by debsbom of dpkg's records; LibTorch,
by what pip's wheel says of itself; our files with their hashes.

    sbom.py OUT WHAT…

writes OUT/WHAT.spdx.json. WHAT is a Debian package, whose dependencies are then those installed on this machine; or an
image of Docker's or buildah's, or a folder with an image's file system, named like its program.
"""

import argparse
import email
import hashlib
import itertools
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from debian.deb822 import Deb822, Packages
from license_expression import get_spdx_licensing
from packageurl import PackageURL
from spdx_tools.spdx.model import (
    Checksum,
    ChecksumAlgorithm,
    Document,
    ExternalPackageRef,
    ExternalPackageRefCategory,
    File,
    Package,
    PackagePurpose,
    Relationship,
    RelationshipType,
    SpdxNoAssertion,
)
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.spdx_element_utils import calculate_package_verification_code
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document
from spdx_tools.spdx.writer.write_anything import write_file

ROOT = Path(__file__).resolve().parents[1]
VERSION = re.search(r"project\([^)]*VERSION ([\d.]+)", (ROOT / "CMakeLists.txt").read_text())[1]
LICENCE = "Apache-2.0"
STATUS = "var/lib/dpkg/status"
EXPORT = {
    "docker": 'set -e; c=$(docker create "$1"); docker export "$c" | tar -x -C "$2"; docker rm "$c"',
    "buildah": 'set -e; c=$(buildah from --pull-never "$1"); cp -a "$(buildah mount "$c")/." "$2"; buildah rm "$c"',
}


def needed(control: Deb822, status: Path) -> list[Packages]:
    """Of the installed packages those that a package depends on, and what these depend on."""
    installed: dict[str, list[Packages]] = {}
    for package in Packages.iter_paragraphs(status.read_text(), use_apt_pkg=False):
        if package["Status"] == "install ok installed":
            provided = [each["name"] for (each,) in package.relations["provides"]]
            for name in [package["Package"], *provided]:
                installed.setdefault(name, []).append(package)
    found: dict[str, Packages] = {}
    todo = [Packages(control)]
    while todo:
        relations = todo.pop().relations
        for alternative in itertools.chain(*relations["depends"], *relations["pre-depends"]):
            for package in installed.get(alternative["name"], []):
                if package["Package"] not in found:
                    found[package["Package"]] = package
                    todo.append(package)
    return list(found.values())


def unpack(deb: Path, root: Path) -> Deb822:
    """What the package holds, beside a dpkg that knows of it and of what it needs. Returns its control file."""
    subprocess.run(["dpkg-deb", "--extract", deb, root], check=True)
    control = Deb822(subprocess.run(["dpkg-deb", "--field", deb], check=True, capture_output=True, text=True).stdout)
    entry = Deb822(control)
    entry["Status"] = "install ok installed"
    status = root / STATUS
    status.parent.mkdir(parents=True)
    status.write_text("\n".join(str(each) for each in [entry, *needed(control, Path("/") / STATUS)]))
    return control


def by_debsbom(name: str, root: Path, *options: str) -> Document:
    """Of dpkg's records."""
    debsbom = Path(sys.executable).with_name("debsbom")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "debian.spdx.json"
        subprocess.run(
            [
                debsbom,
                "generate",
                "--sbom-type=spdx",
                f"--root={root}",
                f"--out={out}",
                f"--distro-name={name}",
                "--no-recommends-deps",
                *options,
            ],
            check=True,
        )
        return parse_file(str(out))


def hashes(path: Path) -> list[Checksum]:
    content = path.read_bytes()
    return [
        Checksum(ChecksumAlgorithm.SHA1, hashlib.sha1(content).hexdigest()),
        Checksum(ChecksumAlgorithm.SHA256, hashlib.sha256(content).hexdigest()),
    ]


def described(path: Path, root: Path, number: int) -> File:
    return File(
        name=f"./{path.relative_to(root)}",
        spdx_id=f"SPDXRef-file-{number}",
        checksums=hashes(path),
        license_concluded=SpdxNoAssertion(),
        copyright_text=SpdxNoAssertion(),
    )


def wheel(metadata: Path) -> Package:
    """A library of pip's that was installed with ours."""
    said = email.message_from_string(metadata.read_text())
    name, version = said["Name"], said["Version"]
    licence = said["License-Expression"]
    return Package(
        spdx_id=f"SPDXRef-wheel-{metadata.parent.name.replace('_', '-')}",
        name=name,
        version=version,
        download_location=SpdxNoAssertion(),
        files_analyzed=False,
        license_declared=get_spdx_licensing().parse(licence) if licence else SpdxNoAssertion(),
        license_concluded=SpdxNoAssertion(),
        copyright_text=SpdxNoAssertion(),
        summary=said["Summary"],
        external_references=[
            ExternalPackageRef(
                ExternalPackageRefCategory.PACKAGE_MANAGER,
                "purl",
                PackageURL("pypi", name=name, version=version).to_string(),
            )
        ],
    )


def program(document: Document, name: str) -> Package:
    """An image's own package, of which dpkg knows nothing."""
    package = Package(
        spdx_id=f"SPDXRef-program-{name}",
        name=name,
        version=VERSION,
        download_location=SpdxNoAssertion(),
        license_concluded=SpdxNoAssertion(),
        copyright_text=SpdxNoAssertion(),
    )
    (image,) = [each for each in document.relationships if each.relationship_type is RelationshipType.DESCRIBES]
    document.packages.append(package)
    document.relationships.append(
        Relationship(image.related_spdx_element_id, RelationshipType.CONTAINS, package.spdx_id)
    )
    return package


def add_files(document: Document, ours: Package, root: Path, below: str) -> None:
    """To our package the files of `root` under `below`, and the wheels that these are of."""
    paths = sorted(path for path in (root / below).rglob("*") if path.is_file() and path != root / STATUS)
    files = [described(path, root, number) for number, path in enumerate(paths)]
    wheels = [wheel(path) for path in paths if path.name == "METADATA"]
    ours.files_analyzed = True
    ours.verification_code = calculate_package_verification_code(files)
    ours.license_info_from_files = [SpdxNoAssertion()]
    ours.license_declared = get_spdx_licensing().parse(LICENCE)
    document.files += files
    document.packages += wheels
    document.relationships += [
        Relationship(ours.spdx_id, RelationshipType.CONTAINS, each.spdx_id) for each in [*wheels, *files]
    ]


def of_deb(deb: Path, root: Path) -> Document:
    control = unpack(deb, root)
    name = control["Package"]
    document = by_debsbom(f"{name}-package", root, f"--distro-arch={control['Architecture']}")
    (ours,) = [
        each
        for each in document.packages
        if each.name == name and each.primary_package_purpose is not PackagePurpose.SOURCE
    ]
    ours.file_name = deb.name
    ours.checksums = hashes(deb)
    ours.external_references = []  # debsbom takes it for Debian's own
    add_files(document, ours, root, ".")
    return document


def of_image(name: str, root: Path) -> Document:
    document = by_debsbom(f"{name}-image", root)
    add_files(document, program(document, name), root, "usr/local")
    return document


def unpack_image(name: str, root: Path) -> None:
    for tool in ("docker", "buildah"):
        done = subprocess.run(["sh", "-c", EXPORT[tool], "sh", name, root], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
    sys.exit(f"there is no image '{name}': ./dev image makes it ({done.stderr.strip()})")


def document_of(what: str) -> Document:
    if "/" in what and Path(what).is_dir():
        return of_image(Path(what).name, Path(what))
    with tempfile.TemporaryDirectory() as folder:
        if what.endswith(".deb"):
            return of_deb(Path(what), Path(folder))
        unpack_image(what, Path(folder))
        return of_image(what, Path(folder))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("what", nargs="+")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for what in given.what:
        document = document_of(what)
        out = given.out / f"{Path(what).name}.spdx.json"
        wrong = validate_full_spdx_document(document)
        if wrong:
            sys.exit("\n".join(f"{out}: {each.validation_message}" for each in wrong))
        write_file(document, str(out), validate=False)


if __name__ == "__main__":
    main()
