"""Links between the pages: every file that one names is there, and every heading."""

import re

import pytest

from harness.paths import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("models/*/*.md")])
CODE = re.compile(r"^ {4}.*$|`[^`\n]*`", re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def anchors(text: str) -> set[str]:
    """Of its headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_there_are_pages():
    assert {"README.md", "operations.md", "concepts.md", "models.md"} <= {page.name for page in PAGES}


def test_every_page_has_a_place_in_the_site():
    nav = (ROOT / "mkdocs.yml").read_text()
    paths = [str(page.relative_to(ROOT)) for page in PAGES if page.parent.name != "decisions"]
    assert [path for path in paths if f": {path}\n" not in nav] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    broken = []
    for link in LINK.findall(CODE.sub("", page.read_text())):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
            broken.append(link)
    assert not broken


def test_the_source_files_that_are_named_exist():
    named = re.findall(r"`([\w/]+/\w+\.(?:cc|h))`", (ROOT / "ARCHITECTURE.md").read_text())
    assert len(named) > 30
    assert [path for path in named if not (ROOT / path).exists() and not (ROOT / "server" / path).exists()] == []
