"""What is under deploy/, checked by the tools and schemas that will read it. Run by ./dev test all."""

import pytest
from packages import make_packages


@pytest.fixture(scope="session")
def packages(tmp_path_factory):
    """Our Debian packages, name to file."""
    return make_packages(tmp_path_factory.mktemp("packages"))
