"""What the READMEs say and a program can count: lines of code, lessons, who imports whom.

$ python .ci/texts.py                 writes it into them
"""

import ast
import json
import re
import sys
from pathlib import Path

import architecture

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from stages import STAGES  # noqa: E402

ROW = re.compile(r"(?<=\n\|---\|---\|---\|---\|\n)(?:\| \[.*\n)+")
"""The stages, in README."""

LESSONS = re.compile(r"(?<=\n\|---\|---\|\n)(?:\| \[.*\n)*")
"""The lessons, in the README of the notebooks."""


def made() -> dict[Path, str]:
    """Each text with what it should say."""
    readme, lessons = ROOT / "README.md", ROOT / "notebooks" / "README.md"
    return {
        readme: ROW.sub(lambda _: stages(), readme.read_text("utf-8"), count=1),
        lessons: LESSONS.sub(lambda _: table_of_lessons(), lessons.read_text("utf-8"), count=1),
        architecture.README: architecture.PICTURE.sub(
            lambda _: architecture.picture(), architecture.README.read_text("utf-8")
        ),
    }


def stages() -> str:
    rows = []
    for number, (name, promise) in enumerate(STAGES.items(), 1):
        path, short = f"stages/{name.replace('.', '/')}.py", name.rpartition(".")[2]
        (notebook,) = (ROOT / "notebooks").glob(f"{number:02}_*.ipynb")
        title = first_line(notebook).removeprefix("# ").partition(":")[0]
        lesson = f"[{title}](notebooks/{notebook.name})"
        rows.append(
            f"| [{short}]({path}) | {promise} | {lines_of_code(ROOT / path)} | {lesson} |\n"
        )
    return "".join(rows)


def table_of_lessons() -> str:
    rows = []
    for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")):
        number, _, title = first_line(path).removeprefix("# ").partition(" ")
        (minutes,) = re.findall(r"about (\d+) minutes", "".join(cells(path)[0]["source"]))
        rows.append(f"| [{number} {title}]({path.name}) | {minutes} |\n")
    return "".join(rows)


def cells(path: Path) -> list[dict[str, list[str]]]:
    found: list[dict[str, list[str]]] = json.loads(path.read_text("utf-8"))["cells"]
    return found


def first_line(path: Path) -> str:
    return cells(path)[0]["source"][0].strip()


def lines_of_code(path: Path) -> int:
    """Lines without comments, docstrings and blanks."""
    source = path.read_text(encoding="utf-8")
    lines = {
        n
        for n, line in enumerate(source.splitlines(), 1)
        if line.strip() and not line.lstrip().startswith("#")
    }
    for node in ast.walk(ast.parse(source)):
        if isinstance(
            node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        ) and ast.get_docstring(node):
            lines -= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    return len(lines)


if __name__ == "__main__":
    for path, text in made().items():
        path.write_text(text, encoding="utf-8")
