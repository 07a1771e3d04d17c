"""docs/flags.md against the programs' own --help. Not letter by letter: another version of CLI11 sets its
lines otherwise."""

import re
import runpy

import pytest

from harness.paths import BIN, ROOT

DOCS = ROOT / "docs"


def sections(text: str) -> dict[str, str]:
    """Program or command to what it says."""
    _, *parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


WRITTEN = sections((DOCS / "flags.md").read_text())


@pytest.fixture(scope="module")
def said() -> dict[str, str]:
    return sections(runpy.run_path(str(DOCS / "make_flags.py"))["flags"](BIN))


def flags(text: str) -> set[str]:
    return set(re.findall(r"^ +(?:-\w, *)?(--[a-z0-9-]+)", text, re.MULTILINE))


def squeezed(text: str) -> str:
    return re.sub(r"\s", "", text)


def test_every_program_and_command_is_there(said):
    assert WRITTEN.keys() == said.keys(), "run ./dev docs"
    assert {"denoised", "denoise", "denoise sample", "denoise bench", "denoise-viewer"} <= said.keys()


@pytest.mark.parametrize("program", WRITTEN)
def test_flags(said, program):
    assert flags(WRITTEN[program]) == flags(said[program]), "run ./dev docs"
    assert "--help" in flags(said[program])
    # Descriptions stand in lines of their own, far to the right.
    described = re.findall(r"^ {30,}(.+)$", WRITTEN[program], re.MULTILINE)
    wrong = [line for line in described if squeezed(line) not in squeezed(said[program])]
    assert not wrong, "run ./dev docs"
