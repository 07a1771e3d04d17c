"""docs/parity.md says what is recorded, and no test allows what is not."""

import errors
import pytest


@pytest.fixture(autouse=True)
def recorded(request):
    if request.config.getoption("--record"):
        pytest.skip("it is written when this run is over")


def test_the_page_has_what_is_recorded():
    page = errors.PAGE.read_text()
    assert errors.with_tables(page) == page, "run ./dev parity record"


def test_what_is_allowed_is_five_times_the_worst_or_the_least():
    for group, one in errors.recorded().items():
        exact = "float32" not in group and not group.endswith(errors.SERVED)
        assert one["allowed"] in (errors.rounded(5 * one["worst"]), 1e-9 if exact else 1e-6), group


def test_errors_are_rounded_up():
    assert [errors.rounded(error) for error in (0, 1.21e-7, 9.99e-4, 2e-6)] == [0, 1.3e-7, 1e-3, 2e-6]
