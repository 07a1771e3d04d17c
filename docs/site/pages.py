"""What the documentation site is made of; a hook of mkdocs (mkdocs.yml).

The site has the layout of the repository: a Markdown file is a page at its own path, so its links to others work here
as on a code host. A file of another kind, or a folder, that a page links to becomes a page that shows it. Generated
besides: the reference of proto/, and a page that leads to Doxygen's reference of the client library.
"""

import posixpath
import re
from pathlib import Path

import proto_reference
from mkdocs.structure.files import File, Files, InclusionLevel

ROOT = Path(__file__).resolve().parents[2]
DOXYGEN = ROOT / "build" / "docs" / "html"
KATEX = Path("/usr/share/javascript/katex")  # Debian's libjs-katex
HEADERS = "client/include/denoise"
CPP = "reference/cpp"
# What a link shows instead of the file itself.
REFERENCES = {
    "proto/denoise/v1/diffusion.proto": "reference/denoise.v1.md",
    "proto/inference/grpc_service.proto": "reference/inference.md",
    HEADERS: "reference/client.md",
}
LANGUAGES = {"cc": "cpp", "h": "cpp", "py": "python", "sh": "bash", "yml": "yaml", "proto": "protobuf"}
LINK = re.compile(r"\]\(([^)\s#]+)(#[^)\s]*)?\)")


def repository_pages() -> list[str]:
    """Paths of the repository's pages."""
    found = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("models/*/*.md")]
    return sorted(path.relative_to(ROOT).as_posix() for path in found)


def files_below(folder: str) -> list[str]:
    """Paths of what a folder holds, also further down."""
    found = (path.relative_to(ROOT) for path in (ROOT / folder).rglob("*") if path.is_file())
    return sorted(path.as_posix() for path in found if "__pycache__" not in path.parts)


def page_of(target: str) -> str:
    """The page for a path of the repository."""
    if target in REFERENCES:
        return REFERENCES[target]
    if target.startswith(HEADERS + "/"):
        return f"{CPP}/{doxygen_name(target)}"
    if (ROOT / target).is_dir():
        readme = f"{target}/README.md"
        return readme if (ROOT / readme).exists() else f"{target}/index.md"
    if target.endswith((".md", ".png", ".gif", ".svg")):
        return target
    return f"{target}.md"


def doxygen_name(header: str) -> str:
    return Path(header).name.replace("_", "__").replace(".", "_8") + ".html"


def targets(page: str, markdown: str) -> list[str]:
    """Paths of the repository that a page links to."""
    paths = (posixpath.normpath(posixpath.join(posixpath.dirname(page), link)) for link, _ in LINK.findall(markdown))
    return [path for path in paths if (ROOT / path).exists()]


def shown(path: str) -> str:
    """A file of the repository as a page."""
    suffix = path.rpartition(".")[2]
    language = "cmake" if path.endswith("CMakeLists.txt") else LANGUAGES.get(suffix, suffix)
    text = (ROOT / path).read_text()
    return f"---\nsearch:\n  exclude: true\n---\n# {path}\n\n`````{language}\n{text.rstrip()}\n`````\n"


def listed(folder: str) -> str:
    """A folder of the repository as a page."""
    lines = [f"- [{path}]({posixpath.relpath(page_of(path), folder)})" for path in files_below(folder)]
    return f"---\nsearch:\n  exclude: true\n---\n# {folder}\n\n" + "\n".join(lines) + "\n"


def client_reference() -> str:
    """Headers of the client library, each with the first sentence of its comment."""
    rows = []
    for header in files_below(HEADERS):
        comment = (ROOT / header).read_text().replace("\n// ", " ").removeprefix("// ")
        first = re.match(r".+?[.:](?=\s)", comment)[0].replace(":", ".")
        rows.append(f"| [denoise/{Path(header).name}](cpp/{doxygen_name(header)}) | {first} |")
    return (
        "# C++ client library\n\n[How it is installed and used](../docs/client.md). Its headers, and an"
        " [index of classes](cpp/annotated.html):\n\n| header | |\n|---|---|\n" + "\n".join(rows) + "\n"
    )


def katex_style() -> str:
    """KaTeX's, with those of its fonts that Debian has."""
    return re.sub(r"url\([^)]*\.woff2?\) ?format\([^)]*\),", "", (KATEX / "katex.min.css").read_text())


def on_config(config):
    """In the nav, a folder stands for its pages."""
    for section in config.nav:
        for entries in section.values():
            for entry in entries:
                for title, path in entry.items():
                    if path.endswith("/"):
                        entry[title] = [page for page in repository_pages() if page.startswith(path)]
    return config


def on_files(files: Files, config) -> Files:
    made = Files([file for file in files if file.src_dir != config.docs_dir])  # of the theme

    def add(path: str, **source):
        if made.get_file_from_path(path) is None:
            made.append(File.generated(config, path, **source))

    for page in repository_pages():
        add(page, abs_src_path=str(ROOT / page))
    for path in files_below("docs/images"):
        add(path, abs_src_path=str(ROOT / path))
    for path, content in proto_reference.pages(ROOT / "proto").items():
        add(path, content=content)
    add("reference/client.md", content=client_reference())

    wanted = [target for page in repository_pages() for target in targets(page, (ROOT / page).read_text())]
    for target in wanted:
        page = page_of(target)
        if page == f"{target}/index.md":
            add(page, content=listed(target), inclusion=InclusionLevel.NOT_IN_NAV)
            wanted += files_below(target)
        elif page == f"{target}.md":
            add(page, content=shown(target), inclusion=InclusionLevel.NOT_IN_NAV)

    for path in DOXYGEN.rglob("*"):
        if path.is_file():
            add(f"{CPP}/{path.relative_to(DOXYGEN).as_posix()}", abs_src_path=str(path))
    for font in (KATEX / "fonts").iterdir():
        add(f"assets/katex/fonts/{font.name}", abs_src_path=str(font))
    add("assets/katex/katex.min.css", content=katex_style())
    add("assets/katex/katex.js", abs_src_path=str(KATEX / "katex.js"))
    for name in ("formulas.js", "style.css"):
        add(f"assets/{name}", abs_src_path=str(Path(__file__).parent / name))
    return made


def on_page_markdown(markdown: str, page, config, files) -> str:
    """Links lead to the pages of what they name."""
    folder = posixpath.dirname(page.file.src_uri)

    def lead(match: re.Match) -> str:
        link, anchor = match[1], match[2] or ""
        target = posixpath.normpath(posixpath.join(folder, link))
        if not (ROOT / target).exists() or files.get_file_from_path(target) is not None:
            return match[0]
        return f"]({posixpath.relpath(page_of(target), folder or '.')}{anchor})"

    return LINK.sub(lead, markdown)
