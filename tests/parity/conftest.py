"""The table of worst errors at the end of a run."""

import collections

import exact_roots
import pytest


def pytest_addoption(parser):
    parser.addoption("--full", action="store_true", help="every combination, not a sample of them")


@pytest.fixture(autouse=True)
def exact(monkeypatch):
    exact_roots.use(monkeypatch)


@pytest.fixture
def record_error(record_property):
    """record_error(name, error, allowed, what): for the summary; asserts nothing."""

    def record(name, error, allowed, what):
        record_property("error", (name, error, allowed, what))

    return record


def pytest_terminal_summary(terminalreporter):
    errors = collections.defaultdict(list)  # of a name: (error, what was run)
    allowed = {}
    for report in [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]:
        for kind, value in report.user_properties:
            if kind == "error" and report.when == "call":
                name, error, allowed[name], what = value
                errors[name].append((error, what))
    if not errors:
        return
    terminalreporter.section("parity with diffusers: worst max|a-b| / max(1, max|b|)")
    for name, of_name in sorted(errors.items()):
        worst, what = max(of_name)
        median = sorted(error for error, _ in of_name)[len(of_name) // 2]
        terminalreporter.write_line(
            f"{name:32} {len(of_name):6} runs  median {median:.1e}  worst {worst:.1e}"
            f"  (allowed {allowed[name]:.0e})  at {what}"
        )
