"""The pages to read: README by its sections, the lessons as they are stored, the code with its
docstrings, the claims, and the stories on two stages each."""

import asyncio
import json
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
    sections = write_readme(work)
    lessons = [write_lesson(work, path) for path in NOTEBOOKS]
    modules = write_modules(work)
    write_architecture(work)
    (work / "claims.md").write_text(claims.page(), encoding="utf-8")
    write_gallery(work)
    with (work / "index.md").open("a", encoding="utf-8") as index:
        index.write(contents("Lessons", lessons))
        index.write(contents("Guide", [*sections, "architecture", "claims", "gallery"]))
        index.write(contents("Code", modules))
    run(sys.executable, "-m", "sphinx", "-q", "-j", "auto", "-b", "html", work, output)


def contents(caption: str, pages: Iterable[str]) -> str:
    """A part of the list of all pages."""
    listed = "\n".join(pages)
    return f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{listed}\n```\n"


def write_readme(work: Path) -> list[str]:
    """A page for each section; what comes before the second is the landing page."""
    first, start, *others = re.split(
        r"^(?=## )", (ROOT / "README.md").read_text("utf-8"), flags=re.M
    )
    pages = {slug(text): text for text in others}
    button = RUN_IT.format(up="", name="01_basic.ipynb")
    (work / "index.md").write_text(linked(f"{first}{button}\n\n{start}"), encoding="utf-8")
    for name, text in pages.items():
        shallower = re.sub(r"^##", "#", text, flags=re.M)
        (work / f"{name}.md").write_text(linked(shallower), encoding="utf-8")
    return list(pages)


def slug(section: str) -> str:
    """The name of a section as GitHub makes it, in a link such as `#the-tests`."""
    title = section.partition("\n")[0].removeprefix("## ").lower()
    return re.sub(r"[^\w -]", "", title).replace(" ", "-")


def linked(text: str) -> str:
    """With links to the pages here, in place of those to files."""
    text = re.sub(r"\]\(#([\w-]+)\)", r"](\1.md)", text)
    text = MODULE.sub(module_link, text.replace("](stages/README.md)", "](architecture.md)"))
    return re.sub(r"\[([^]]+)\]\(tests/[\w./]+\)", r"\1", text)


MODULE = re.compile(r"\]\((\.\./)?(stages/[\w/]+?)(?:/__init__)?\.py\)")


def module_link(found: re.Match[str]) -> str:
    return f"]({found[1] or ''}code/{found[2].replace('/', '.')}.md)"


def write_architecture(work: Path) -> None:
    """How the stages are built, without the picture, which only code hosts draw."""
    text = (ROOT / "stages" / "README.md").read_text("utf-8")
    told = re.sub(r"An arrow means.*?```\n\n", "", text, flags=re.DOTALL)
    of_files = re.sub(r"\]\(([\w/]+\.py)\)", r"](stages/\1)", told)
    of_folders = re.sub(r"\[([\w/]+)\]\([\w/]+\)", r"`\1`", of_files)
    (work / "architecture.md").write_text(linked(of_folders), encoding="utf-8")


def write_lesson(work: Path, path: Path) -> str:
    """A notebook, with a button below its title, and its answers folded."""
    text = path.read_text(encoding="utf-8").replace("](../README.md)", "](../index.md)")
    notebook = json.loads(MODULE.sub(module_link, text))
    for cell in notebook["cells"]:
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
