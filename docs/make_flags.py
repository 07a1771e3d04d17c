#!/usr/bin/env python3
"""Writes docs/flags.md from what the programs themselves say to --help. ./dev docs runs it.

docs/make_flags.py build/bin
"""

import os
import re
import subprocess
import sys
from pathlib import Path

TARGET = Path(__file__).resolve().parent / "flags.md"
HEAD = """\
# Flags

What the programs say to `--help`, written here by `./dev docs`; a test compares. A flag's value may also come from the
environment variable beside it, and the server's from a TOML file (`--config`): the command line wins over the
environment, the environment over the file.
"""


def help_of(program: Path, *words: str) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DENOISE")}
    done = subprocess.run(
        [str(program), *words, "--help"], env=environment, capture_output=True, text=True, timeout=30, check=True
    )
    return done.stdout


def flags(folder: Path) -> str:
    """The page, of the programs in `folder`."""
    sections = [("denoised", help_of(folder / "denoised"))]
    command = help_of(folder / "denoise")
    sections.append(("denoise", command))
    listed = command[command.index("Subcommands:") :].split("\n\n")[0]
    for name in re.findall(r"^  (\w+) ", listed, re.MULTILINE):
        sections.append((f"denoise {name}", help_of(folder / "denoise", name)))
    sections.append(("denoise-viewer", help_of(folder / "denoise-viewer")))
    text = HEAD
    for name, said in sections:
        # Indented, and so shown as it is.
        lines = [f"    {line}".rstrip() for line in said.strip("\n").splitlines()]
        text += f"\n## {name}\n\n" + "\n".join(lines) + "\n"
    return text


if __name__ == "__main__":
    TARGET.write_text(flags(Path(sys.argv[1])))
    print(TARGET)
