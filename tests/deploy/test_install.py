"""What `cmake --install` makes, moved: programs that start, and the client library as strangers have it, found by CMake
and by pkg-config, with the example project built against it in a folder of its own, and run against a real server."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.paths import BIN, DIGITS, ROOT, clean_environment
from harness.server import ONE_ENGINE, Server

BUILD = BIN.parent

# The client is built once more, as a shared library.
pytestmark = pytest.mark.timeout(900)


def run(*command, cwd=None, **environment) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=clean_environment() | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{shlex.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def cache_entry(name: str) -> str:
    """Of the build that is tested."""
    cache = (BUILD / "CMakeCache.txt").read_text()
    return re.search(rf"^{name}:\w+=(.*)$", cache, re.MULTILINE)[1]


def install(build: Path, folder: Path, *component: str) -> Path:
    """Installs, and moves what was installed."""
    run("cmake", "--install", build, *(("--component", *component) if component else ()), "--prefix", folder / "before")
    return (folder / "before").rename(folder / "after")


@pytest.fixture(scope="module")
def static_tree(tmp_path_factory):
    """Of the build that has the server too."""
    return install(BUILD, tmp_path_factory.mktemp("static"), "client")


@pytest.fixture(scope="module")
def shared_tree(tmp_path_factory):
    """Of a build of the client alone, as for somebody without LibTorch."""
    folder = tmp_path_factory.mktemp("shared")
    run(
        "cmake",
        "--preset",
        "client",
        "-B",
        folder / "build",
        "-DBUILD_SHARED_LIBS=ON",
        f"-DGOOGLEAPIS_DIR={cache_entry('GOOGLEAPIS_DIR')}",
        f"-DCMAKE_CXX_COMPILER_LAUNCHER={shutil.which('ccache') or ''}",
        cwd=ROOT,
    )
    run("cmake", "--build", folder / "build", "--parallel", "2")
    return install(folder / "build", folder, "client")


@pytest.fixture(scope="module", params=["static", "shared"])
def tree(request):
    return request.getfixturevalue(f"{request.param}_tree")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(
        tmp_path_factory.mktemp("server"), "--model", str(DIGITS), "--devices", "cpu:1", "--batch-sizes", "1,4"
    )
    try:
        yield server
        server.stop()
    finally:
        server.kill()
        server.close()


@pytest.mark.parametrize(
    ("component", "programs"),
    [("server", {"denoised"}), ("cli", {"denoise"}), ("viewer", {"denoise-viewer"}), ("client", set())],
)
def test_a_component_by_itself(component, programs, tmp_path):
    tree = install(BUILD, tmp_path, component)
    assert {path.name for path in tree.glob("bin/*")} == programs
    assert (tree / "lib/denoised").exists() == (component == "server")
    assert (tree / "include").exists() == (component == "client")


def test_the_programs_start(tmp_path):
    tree = install(BUILD, tmp_path)
    server = Server(
        tmp_path / "server",
        "--model",
        str(tree / "share/denoised/models/digits"),
        *ONE_ENGINE,
        "--batch-sizes",
        "1,4",
        program=tree / "bin/denoised",
    )
    try:
        maps = Path(f"/proc/{server.pid}/maps").read_text()
        # LibTorch is the one that was installed, and of that nothing that is not loaded.
        loaded = {Path(line.split()[-1]) for line in maps.splitlines() if "/lib/denoised/" in line}
        assert loaded == set((tree / "lib/denoised").iterdir()) and "libtorch_cpu.so" in {path.name for path in loaded}
        assert str(BUILD) not in maps and "site-packages" not in maps
        run(
            tree / "bin/denoise",
            "sample",
            "--address",
            server.address,
            "--class",
            "7",
            "--steps",
            "5",
            "--out",
            tmp_path / "seven.png",
        )
        server.stop()
    finally:
        server.kill()
        server.close()
    assert (tmp_path / "seven.png").read_bytes().startswith(b"\x89PNG\r\n")
    assert "0.1.0" in run(tree / "bin/denoise-viewer", "--version")


def example(folder: Path) -> Path:
    """The example's sources, without the repository around them."""
    return Path(shutil.copytree(ROOT / "examples" / "client", folder / "example"))


def draws(program: Path, server: Server, folder: Path, **environment) -> None:
    said = run(program, server.address, "7", "seven", cwd=folder, **environment)
    assert said.startswith("seed 1, 0 requests before this one\n"), said
    for sample in range(2):
        assert f"sample {sample}: step 20 of 20" in said
        assert (folder / f"seven{sample}.png").read_bytes().startswith(b"\x89PNG\r\n")


def test_holds_no_path_of_the_build(static_tree, shared_tree):
    for tree in (static_tree, shared_tree):
        files = [path for path in tree.rglob("*") if path.is_file()]
        assert len(files) > 10
        for path in files:
            content = path.read_bytes()
            for other in (ROOT, BUILD, shared_tree.parent, static_tree.parent):
                assert str(other).encode() not in content, f"{path} names {other}"


def test_headers_know_nothing_of_grpc_and_protobuf(tree):
    headers = list((tree / "include" / "denoise").rglob("*.h"))
    assert tree / "include" / "denoise" / "client.h" in headers
    for header in headers:
        assert not re.search(r'#include [<"](grpc|google)', header.read_text()), header


def test_the_proto_is_there(tree):
    proto = "denoise/v1/diffusion.proto"
    assert (tree / "share/denoise/proto" / proto).read_bytes() == (ROOT / "proto" / proto).read_bytes()


def test_by_find_package(tree, server, tmp_path):
    run("cmake", "-S", example(tmp_path), "-B", tmp_path / "build", f"-DCMAKE_PREFIX_PATH={tree}")
    run("cmake", "--build", tmp_path / "build", "--parallel", "2")
    run("ctest", "--test-dir", tmp_path / "build", "--no-tests=error")
    draws(tmp_path / "build" / "sample", server, tmp_path)


def test_another_minor_version_is_not_taken(tree, tmp_path):
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.22)\nproject(Other LANGUAGES CXX)\n"
        "find_package(Denoise 0.0 CONFIG)\n"
        "if(Denoise_FOUND)\n  message(FATAL_ERROR found)\nendif()\n"
    )
    run("cmake", "-S", tmp_path, "-B", tmp_path / "build", f"-DCMAKE_PREFIX_PATH={tree}")


def test_by_pkg_config(tree, server, tmp_path):
    (libraries,) = tree.glob("lib*")
    found = run("pkg-config", "--cflags", "--libs", "denoise-client", PKG_CONFIG_PATH=str(libraries / "pkgconfig"))
    program = tmp_path / "sample"
    sources = [example(tmp_path) / "sample.cc", tmp_path / "example" / "draw.cc"]
    run("c++", "-std=c++20", *sources, "-o", program, *shlex.split(found))
    draws(program, server, tmp_path, LD_LIBRARY_PATH=str(libraries))


def test_the_shared_library_keeps_the_generated_code_to_itself(shared_tree):
    (library,) = shared_tree.glob("lib*/libdenoise_client.so")
    names = run("nm", "--dynamic", "--defined-only", "--demangle", library)
    assert "denoise::client_v1::Client::Connect" in names
    assert not re.search(r" [TDBV] (google::rpc|denoise::v1|grpc::health)::", names)
    assert [path.name for path in shared_tree.rglob("*.a")] == ["libdenoise_testing.a"]
