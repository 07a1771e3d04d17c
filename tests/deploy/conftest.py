"""What is under deploy/, checked by the tools and schemas that will read it. Run by ./dev test all."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))  # the harness of the real server

from packages import make_packages  # noqa: E402


@pytest.fixture(scope="session")
def packages(tmp_path_factory):
    """Our Debian packages, name to file."""
    return make_packages(tmp_path_factory.mktemp("packages"))
