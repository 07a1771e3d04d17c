"""The documentation site as ./dev docs makes it: links, formulas, references. Run by ./dev test all."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SITE = ROOT / "build" / "site"


def check_links(folder: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, ROOT / "docs/site/check_links.py", folder]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_the_site_has_no_dead_links():
    done = check_links(SITE)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("planted", "problem"),
    [
        ('<a href="nowhere.html">', "nowhere.html: no such file"),
        ('<a href="nowhere/">', "nowhere/: no such file"),
        ('<a href="other.html#nowhere">', "other.html#nowhere: no such anchor"),
        ('<a href="#nowhere">', "#nowhere: no such anchor"),
        ('<img src="nowhere.png">', "nowhere.png: no such file"),
        ('<script src="https://cdn.example.org/a.js"></script>', "a.js: is fetched from elsewhere"),
        ('<link rel="stylesheet" href="//cdn.example.org/a.css">', "a.css: is fetched from elsewhere"),
        ('<link rel="stylesheet" href="bad.css">', "bad.css: nowhere.woff2: no such file"),
    ],
)
def test_a_planted_dead_link_is_found(tmp_path, planted, problem):
    (tmp_path / "other.html").write_text('<h1 id="here">Here</h1> <a href="https://example.org/away">away</a>')
    (tmp_path / "good.css").write_text("h1 { background: url(data:image/png;base64,AAAA); }")
    good = '<h1 id="top"><a href="#top"></a><a href="other.html#here"></a><link rel="stylesheet" href="good.css">'
    (tmp_path / "page.html").write_text(good)
    assert check_links(tmp_path).returncode == 0
    if "bad.css" in planted:
        (tmp_path / "bad.css").write_text("@font-face { src: url('nowhere.woff2'); }")
    (tmp_path / "page.html").write_text(good + planted)
    done = check_links(tmp_path)
    assert done.returncode == 1
    assert problem in done.stdout


def test_every_type_and_field_of_the_api_is_in_its_reference():
    page = (SITE / "reference/denoise.v1.html").read_text()
    proto = (ROOT / "proto/denoise/v1/diffusion.proto").read_text()
    types = re.findall(r"^(?:message|service) (\w+)", proto, re.MULTILINE)
    fields = re.findall(r"^ +(?:\w+ )?[\w.<>, ]+ (\w+) = \d+;", proto, re.MULTILINE)
    assert len(types) > 20 and len(fields) > 100
    assert [name for name in types if f'id="denoise.v1.{name}"' not in page] == []
    assert [name for name in fields if f"<code>{name}</code>" not in page] == []


def test_formulas_are_rendered():
    """All of a page's, by KaTeX in a browser."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=10000", "--dump-dom"]
    page = (SITE / "docs/concepts.html").as_uri()
    shown = subprocess.run([*command, page], capture_output=True, text=True, timeout=120, check=True).stdout
    formulas = (SITE / "docs/concepts.html").read_text().count('class="arithmatex"')
    assert formulas > 50
    assert shown.count('class="katex"') == formulas
