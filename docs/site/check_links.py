#!/usr/bin/env python3
"""Looks for dead links in a folder of HTML pages: files and anchors that are not there, and what would be fetched from
elsewhere when a page is shown (scripts, styles, fonts, pictures). Links to other sites are not followed.

    docs/site/check_links.py build/site
"""

import html.parser
import re
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Attributes by which a page names what it is made of; <a href> alone may lead elsewhere.
PARTS = {("img", "src"), ("script", "src"), ("link", "href"), ("iframe", "src"), ("source", "src")}
STYLE_URL = re.compile(r"url\(\s*['\"]?([^'\")]+)['\"]?\s*\)")


class Page(html.parser.HTMLParser):
    def __init__(self, text: str):
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[tuple[bool, str]] = []  # whether the page is made of it, and its address
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = {name: value or "" for name, value in attributes}
        self.anchors |= {values[name] for name in ("id", "name") if values.get(name)}
        is_canonical = tag == "link" and values.get("rel") in ("canonical", "prev", "next")
        for name in ("href", "src"):
            if name in values and not is_canonical:
                self.links.append(((tag, name) in PARTS, values[name]))


def dead_links(root: Path) -> list[str]:
    """A line for each: the page, the link, and what is wrong."""
    root = root.resolve()
    pages = {path: Page(path.read_text(errors="replace")) for path in root.rglob("*.html")}
    found = []

    def check(source: Path, is_part: bool, link: str):
        url = urlsplit(link)
        where = f"{source.relative_to(root)}: {link}"
        if url.scheme or url.netloc:
            if is_part and url.scheme not in ("data", "javascript"):
                found.append(f"{where}: is fetched from elsewhere")
            return
        path = unquote(url.path)
        target = root / path.lstrip("/") if path.startswith("/") else source.parent / path if path else source
        target = target.resolve()
        if target.is_dir():
            target = target / "index.html"
        if not target.is_file():
            found.append(f"{where}: no such file")
        elif url.fragment and target in pages and unquote(url.fragment) not in pages[target].anchors:
            found.append(f"{where}: no such anchor")

    for path, page in pages.items():
        for is_part, link in page.links:
            check(path, is_part, link)
    for path in root.rglob("*.css"):
        for link in STYLE_URL.findall(path.read_text(errors="replace")):
            check(path, True, link)
    return sorted(set(found))


if __name__ == "__main__":
    dead = dead_links(Path(sys.argv[1]))
    print("\n".join(dead) or "no dead links")
    sys.exit(1 if dead else 0)
