"""Errors beside diffusers: what is allowed, and the worst of a run."""

import collections
import math

import errors
import exact_roots
import pytest

# group -> [(error, what was run)]
_seen = collections.defaultdict(list)
_least = {}  # of each group, what is allowed in any case


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
def allowed_error(request):
    """allowed_error(group, error, what, least): remembers the error, and says how large one of its group may be.
    `least`: what is allowed in any case."""
    recording = request.config.getoption("--record")

    def allowed(group, error, what, least):
        _seen[group].append((error, what))
        _least[group] = least
        return math.inf if recording else errors.allowed(group)

    return allowed


def pytest_terminal_summary(terminalreporter, config):
    if not _seen:
        return
    terminalreporter.section("parity with diffusers: worst max|a-b| / max(1, max|b|)")
    for group, seen in sorted(_seen.items()):
        worst, what = max(seen)
        terminalreporter.write_line(f"{group:44} {len(seen):6} runs  worst {worst:.1e}  at {what}")
    if config.getoption("--record"):
        errors.record({group: (len(seen), max(seen)[0], _least[group]) for group, seen in _seen.items()})
