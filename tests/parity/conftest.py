"""The table of worst errors at the end of a run."""

import collections

import exact_roots
import pytest

# name -> [(error, what was run)]
_errors = collections.defaultdict(list)
_allowed = {}


def pytest_addoption(parser):
    parser.addoption("--full", action="store_true", help="every combination, not a sample of them")


@pytest.fixture(autouse=True)
def exact(monkeypatch):
    exact_roots.use(monkeypatch)


@pytest.fixture
def record_error():
    """record_error(name, error, allowed, what): for the summary; asserts nothing."""

    def record(name, error, allowed, what):
        _errors[name].append((error, what))
        _allowed[name] = allowed

    return record


def pytest_terminal_summary(terminalreporter):
    if not _errors:
        return
    terminalreporter.section("parity with diffusers: worst max|a-b| / max(1, max|b|)")
    for name, errors in sorted(_errors.items()):
        worst, what = max(errors)
        median = sorted(error for error, _ in errors)[len(errors) // 2]
        terminalreporter.write_line(
            f"{name:32} {len(errors):6} runs  median {median:.1e}  worst {worst:.1e}"
            f"  (allowed {_allowed[name]:.0e})  at {what}"
        )
