"""The pages to read: README and those of the folders, the lessons as they are stored, the code with
its docstrings, the claims, and the stories on two stages each."""

import asyncio
import json
import posixpath
import re
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import claims
from live import run

from stages.lab import stories

HERE = Path(__file__).parent
ROOT = HERE.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

RUN_IT = """<a class="live" href="{up}live/lab/index.html?path={name}">▶ Run it here</a>

It starts in some seconds. Nothing is installed, and nothing leaves your browser: ports and
processes, which a browser has not, are played in memory."""


def build(output: Path, work: Path) -> None:
    """Build into a folder; `work` is one for the sources."""
    for name in ("conf.py", "site.css", "icon.svg"):
        shutil.copy(HERE / name, work)
    (work / "extra" / "gallery").mkdir(parents=True)
    (work / "notebooks").mkdir()
    for picture in (ROOT / "notebooks").glob("*.svg"):
        shutil.copy(picture, work / "notebooks")
    asyncio.run(stories.write_pages(work / "extra" / "gallery"))
    write_guides(work)
    lessons = [write_lesson(work, path) for path in NOTEBOOKS]
    modules = write_modules(work)
    (work / "claims.md").write_text(claims.page(), encoding="utf-8")
    write_gallery(work)
    with (work / "index.md").open("a", encoding="utf-8") as index:
        index.write(contents("Lessons", lessons))
        index.write(
            contents(
                "Guide",
                [*[each for each in GUIDES.values() if each != "index"], "claims", "gallery"],
            )
        )
        index.write(contents("Code", modules))
    html = work / "_html"  # myst-nb leaves files beside it
    run(sys.executable, "-m", "sphinx", "-q", "-j", "auto", "-b", "html", work, html)
    shutil.copytree(html, output, dirs_exist_ok=True)


def contents(caption: str, pages: Iterable[str]) -> str:
    """A part of the list of all pages."""
    listed = "\n".join(pages)
    return f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{listed}\n```\n"


GUIDES = {
    "README.md": "index",
    "notebooks/README.md": "lessons",
    "stages/README.md": "architecture",
    "stages/beyond/README.md": "beyond",
    "stages/client/README.md": "client",
    "stages/lab/README.md": "lab",
    "stages/lab/bench/README.md": "bench",
    "tests/README.md": "tests",
    ".site/README.md": "browser",
    ".github/CONTRIBUTING.md": "contributing",
    ".github/CHANGELOG.md": "changelog",
    ".github/SECURITY.md": "security",
}
"""The page of each text that a code host shows, too."""


def write_guides(work: Path) -> None:
    for path, page in GUIDES.items():
        text = (ROOT / path).read_text("utf-8")
        # Only code hosts draw this picture.
        text = re.sub(r"An arrow means.*?```mermaid.*?```\n\n", "", text, flags=re.DOTALL)
        if page == "index":
            button = RUN_IT.format(up="", name="01_basic.ipynb")
            text = text.replace("\n## Run it\n", f"\n{button}\n\n## Run it\n", 1)
        (work / f"{page}.md").write_text(linked(text, path, ""), encoding="utf-8")


LINK = re.compile(r"(!?)\[([^][]+)\]\((?!http|#)([^)#\s]+)(#[^)]*)?\)")


def linked(text: str, source: str, up: str) -> str:
    """A text of the file `source`, with links to pages here in place of those to files; of a file
    that has none, only what it is called. `up` leads from its page to the first."""

    def link(found: re.Match[str]) -> str:
        picture, name, target, place = found.groups()
        page = page_of(posixpath.normpath(posixpath.join(posixpath.dirname(source), target)))
        return f"{picture}[{name}]({up}{page}{place or ''})" if page else name

    return LINK.sub(link, text)


def page_of(path: str) -> str:
    if path in GUIDES:
        return f"{GUIDES[path]}.md"
    if path.startswith("stages/") and path.endswith(".py"):
        return f"code/{path.removesuffix('.py').removesuffix('/__init__').replace('/', '.')}.md"
    return path if path.startswith("notebooks/") else ""


def write_lesson(work: Path, path: Path) -> str:
    """A notebook, with a button below its title, and its answers folded."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = linked("".join(cell["source"]), f"notebooks/{path.name}", "../")
        tags = cell["metadata"].setdefault("tags", [])
        tags += ["hide-output"] if "predict" in tags else []
    button = RUN_IT.format(up="../", name=path.name)
    notebook["cells"].insert(1, markdown(button))
    (work / "notebooks" / path.name).write_text(json.dumps(notebook), encoding="utf-8")
    return f"notebooks/{path.stem}"


def markdown(text: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "id": "live", "metadata": {}, "source": text}


def write_modules(work: Path) -> list[str]:
    """A page for each module: its docstrings, then its source."""
    folder = work / "code"
    folder.mkdir()
    names = []
    for path in sorted((ROOT / "stages").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        source = path.read_text(encoding="utf-8")
        if source.strip() and not name.endswith("__main__"):
            documented = f"```{{eval-rst}}\n.. automodule:: {name}\n   :members:\n```"
            page = f"# {name}\n\n{documented}\n\n## Source\n\n````python\n{source}````\n"
            (folder / f"{name}.md").write_text(page, encoding="utf-8")
            names.append(f"code/{name}")
    return names


WIDE = "---\nhtml_theme.sidebar_secondary.remove: true\n---"


def write_gallery(work: Path) -> None:
    """Links to the pages of two stages, with what happens in each."""
    pages = sorted(
        (work / "extra" / "gallery").glob("*.html"),
        key=lambda page: int(page.name.partition("_")[0]),
    )
    rows = [
        f'<p><a href="gallery/{page.name}">{before.__module__.rpartition(".")[2]} → '
        f"{after.__module__.rpartition('.')[2]}</a><br>{story.__doc__}</p>"
        for page, (story, before, after) in zip(pages, stories.STORIES, strict=True)
    ]
    text = "One story on two stages, side by side, with the lines of code that ran at each step."
    (work / "gallery.md").write_text(
        "\n\n".join([WIDE, "# The same story twice", text, *rows]), encoding="utf-8"
    )
