"""The Debian packages in a clean Debian 12: installed by apt, used, upgraded and removed."""

import re
import shutil
import subprocess
import urllib.request
from pathlib import Path

import pytest
from debian_root import DebianRoot, can_make_roots
from packages import depends, field, make_packages
from tools import stages

from harness.paths import ROOT
from harness.server import ONE_ENGINE, Server

# A Debian and a compiler are fetched.
pytestmark = [
    pytest.mark.timeout(1200),
    pytest.mark.skipif(not can_make_roots(), reason="not root, or no mount namespaces here"),
]
NAMES = {"denoised", "denoise", "denoise-viewer", "libdenoise-dev"}


def install(root: DebianRoot, packages: dict[str, Path]) -> None:
    for package in packages.values():
        shutil.copy(package, root.folder / "tmp")
    files = [f"/tmp/{package.name}" for package in packages.values()]
    root.run("apt-get", "install", "--yes", "--no-install-recommends", *files)
    for package in packages.values():
        (root.folder / "tmp" / package.name).unlink()


@pytest.fixture(scope="module")
def clean_root(tmp_path_factory, packages):
    """With what the packages need, a compiler and systemd, but nothing of ours."""
    root = DebianRoot(tmp_path_factory.mktemp("root"), "cmake", "g++", "make", "pkgconf", "systemd-sysv")
    needed = [field(package, "Depends") for package in packages.values()]
    root.run("apt-get", "satisfy", "--yes", "--no-install-recommends", *needed)
    try:
        yield root
    finally:
        shutil.rmtree(root.folder)


@pytest.fixture(scope="module")
def root(clean_root, packages):
    """With the packages."""
    clean_root.boot("true")  # systemd's first start leaves files of its own
    clean_root.before = clean_root.files()
    install(clean_root, packages)
    return clean_root


@pytest.fixture(scope="module")
def server(root, tmp_path_factory):
    server = Server(
        tmp_path_factory.mktemp("server"),
        "--model",
        "/usr/share/denoised/models/digits",
        *ONE_ENGINE,
        "--batch-sizes",
        "1,4",
        prefix=root.enter,
        program=Path("/usr/bin/denoised"),
    )
    try:
        yield server
        server.stop()
    finally:
        server.kill()
        server.close()


def test_policy(packages):
    assert packages.keys() == NAMES
    # Changes are told in CHANGELOG.md alone.
    command = ["lintian", "--fail-on=error", "--suppress-tags=no-changelog", "--allow-root", *packages.values()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("package", "stage"), [("denoised", "server"), ("denoise-viewer", "viewer")])
def test_the_image_has_what_the_package_needs(root, packages, package, stage):
    """dpkg-shlibdeps found it."""
    (command,) = stages()[stage]["RUN"]
    without = [f"--no-{kind}" for kind in ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")]
    closure = root.run("apt-cache", "depends", "--recurse", *without, *re.findall(r" (lib\S+)", command))
    # Some are virtual, of which dpkg-query complains.
    query = """dpkg-query --show --showformat='${Package}, ${Provides}, ' "$@" 2>/dev/null || true"""
    provided = root.run("sh", "-c", query, "sh", *re.findall(r"^[a-z]\S+", closure, re.MULTILINE))
    assert depends(packages[package]) <= set(re.findall(r"[^ ,]+", provided))


def test_draws_a_digit(root, server):
    root.run("denoise", "sample", "--address", server.address, "--class=7", "--steps=5", "--out=/tmp/seven.png")
    picture = root.folder / "tmp" / "seven.png"
    assert picture.read_bytes().startswith(b"\x89PNG\r\n")
    picture.unlink()


def test_shows_the_page(root, server):
    viewer = root.start("denoise-viewer", "--server", server.address, "--listen", "127.0.0.1:0", stdout=subprocess.PIPE)
    try:
        page = re.search(r"http://\S+:\d+", viewer.stdout.readline())[0]
        with urllib.request.urlopen(page, timeout=10) as answer:
            assert b"<title>" in answer.read()
        with urllib.request.urlopen(f"{page}/api/models", timeout=10) as answer:
            assert b"digits" in answer.read()
    finally:
        viewer.terminate()
        assert viewer.wait(20) == 0


def test_compiles_the_example(root, server):
    shutil.copytree(ROOT / "examples" / "client", root.folder / "tmp" / "example")
    root.run("cmake", "-S", "/tmp/example", "-B", "/tmp/example/build")
    root.run("cmake", "--build", "/tmp/example/build")
    root.run("ctest", "--test-dir", "/tmp/example/build", "--no-tests=error")
    said = root.run("/tmp/example/build/sample", server.address, "7", "/tmp/example/seven")
    assert "wrote /tmp/example/seven1.png" in said
    assert "-ldenoise_client" in root.run("pkg-config", "--libs", "denoise-client")
    shutil.rmtree(root.folder / "tmp" / "example")


def test_has_manual_pages(root):
    for program in NAMES - {"libdenoise-dev"}:
        page = root.run("zcat", f"/usr/share/man/man1/{program}.1.gz")
        assert f"{program} \\- " in page and "\\-\\-help" in page, program


def test_unit_is_right_and_confined(root):
    unit = "/lib/systemd/system/denoised.service"
    assert root.run("sh", "-c", f"systemd-analyze verify --man=no {unit} 2>&1") == ""
    # Of 100. Without its lines of hardening it would be above 90.
    root.run("systemd-analyze", "security", "--offline=yes", "--threshold=20", unit)


SERVE = """
systemctl show --property=MainPID denoised
denoise sample --address 127.0.0.1:8600 --retries 50 --timeout 60s --class 7 --steps 5 --out /tmp/seven.png
rm /tmp/seven.png
"""


def test_serves_as_a_unit_is_upgraded_and_leaves_nothing(root, tmp_path):
    """The last: it removes the packages."""
    settings = root.folder / "etc" / "default" / "denoised"
    settings.write_text("DENOISED_LISTEN=127.0.0.1:8600\nDENOISED_TUNE_SECONDS=0\n")
    for package in make_packages(tmp_path, "-R", "0.1.999").values():
        shutil.copy(package, root.folder / "opt")
    said = root.boot(f"""
systemctl enable --now denoised
{SERVE}
dpkg --install /opt/*.deb
{SERVE}
dpkg --purge {" ".join(NAMES)}
test "$(systemctl is-active denoised)" = inactive
rm /opt/*.deb
""")
    before, after = re.findall(r"^MainPID=(\d+)", said, re.MULTILINE)
    assert before != after
    settings.unlink()
    assert root.files() - root.before == set()
