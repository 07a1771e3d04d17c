"""Errors beside diffusers: what is allowed, and the worst of a run."""

import collections
import math

import errors
import exact_roots
import pytest


def pytest_addoption(parser):
    parser.addoption("--full", action="store_true", help="every combination, not a sample of them")
    parser.addoption(
        "--record",
        action="store_true",
        help="allow anything, and write the worst errors to tests/parity/errors.json and docs/parity.md",
    )


def pytest_configure(config):
    config.addinivalue_line("filterwarnings", "ignore::DeprecationWarning:diffusers")


@pytest.fixture(autouse=True)
def exact(monkeypatch):
    exact_roots.use(monkeypatch)


@pytest.fixture
def allowed_error(request, record_property):
    """allowed_error(group, error, what, least): remembers the error, and says how large one of its group may be.
    `least`: what is allowed in any case."""
    recording = request.config.getoption("--record")

    def allowed(group, error, what, least):
        record_property("error", (group, float(error), str(what), float(least)))  # as processes can tell each other
        return math.inf if recording else errors.allowed(group)

    return allowed


def pytest_terminal_summary(terminalreporter, config):
    seen = collections.defaultdict(list)  # of a group: (error, what was run)
    least = {}  # of a group, what is allowed in any case
    for report in [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]:
        for kind, value in report.user_properties:
            if kind == "error" and report.when == "call":
                group, error, what, least[group] = value
                seen[group].append((error, what))
    if not seen:
        return
    terminalreporter.section("parity with diffusers: worst max|a-b| / max(1, max|b|)")
    for group, of_group in sorted(seen.items()):
        worst, what = max(of_group)
        terminalreporter.write_line(f"{group:44} {len(of_group):6} runs  worst {worst:.1e}  at {what}")
    if config.getoption("--record"):
        errors.record({group: (len(of), max(of)[0], least[group]) for group, of in seen.items()})
