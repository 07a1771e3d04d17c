"""The Dockerfile: what its images are like, as far as it says so itself. ./dev image builds them."""

import re

import pytest
from tools import stages

from harness.paths import ROOT

VERSION = re.search(r"project\([^)]*VERSION ([\d.]+)", (ROOT / "CMakeLists.txt").read_text()).group(1)
# What each image answers to: its program, its ports.
IMAGES = {"server": ("denoised", "8500 8501"), "viewer": ("denoise-viewer", "8080")}


@pytest.fixture(params=IMAGES)
def image(request):
    return request.param, stages()[request.param]


def only(stage: dict, instruction: str) -> str:
    (given,) = stage[instruction]
    return given


def test_the_server_is_what_is_built_where_nothing_is_named():
    assert list(stages())[-1] == "server"


def test_runs_as_nobody_in_particular(image):
    _, stage = image
    user, group = only(stage, "USER").split(":")
    assert int(user) > 0 and int(group) > 0, "numbers, which Kubernetes' runAsNonRoot can judge"


def test_stops_and_is_probed(image):
    name, stage = image
    program, ports = IMAGES[name]
    assert only(stage, "STOPSIGNAL") == "SIGTERM"
    assert only(stage, "ENTRYPOINT") == f'["/usr/local/bin/{program}"]'
    assert only(stage, "HEALTHCHECK").endswith(f'CMD ["/usr/local/bin/{program}", "--probe"]')
    assert only(stage, "EXPOSE") == ports


def test_labels(image):
    name, stage = image
    labels = dict(re.findall(r'org\.opencontainers\.image\.([a-z.]+)="([^"]*)"', only(stage, "LABEL")))
    assert labels.keys() == {"title", "description", "version", "revision", "licenses", "base.name"}
    assert labels["title"] == IMAGES[name][0]
    assert labels["version"] == VERSION
    assert labels["base.name"] == "docker.io/library/$BASE" and "BASE" in stage["ARG"]


def test_one_base_that_a_build_can_pin():
    assert re.findall("^ARG BASE=(.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE) == ["debian:bookworm-slim"]
    for name, stage in stages().items():
        base = only(stage, "FROM").split(" AS ")[0]
        assert base == "${BASE}" or base in stages(), name


def test_viewer_needs_no_libtorch():
    """Nor does any stage that it is made of."""
    used, todo = {}, ["viewer"]
    while todo:
        name = todo.pop()
        used[name] = stage = stages()[name]
        sources = [only(stage, "FROM").split(" AS ")[0]]
        sources += re.findall(r"--from=(\S+)", " ".join(stage.get("COPY", [])))
        todo += [source for source in sources if source in stages()]
    assert used.keys() == {"viewer", "build-viewer", "packages"}
    assert "LIBTORCH=/none ./dev setup" in used["packages"]["RUN"]
    assert not re.search(r"torch", str(used["build-viewer"]), re.IGNORECASE)


def test_ignored_is_all_but_what_is_copied():
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = set()
    for stage in stages().values():
        for given in stage.get("COPY", []):
            if "--from" not in given:
                copied |= set(given.split()[:-1])
    for path in copied:
        assert (ROOT / path).exists(), path
        assert any(path == each or path.startswith(f"{each}/") for each in kept), path
    for each in kept:
        assert any(path == each or path.startswith(f"{each}/") for path in copied), f"{each} is not copied"
