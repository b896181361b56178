"""Lay the lessons into a folder of one's own, and open them.

    $ python -m stages.lab lessons
    14 notebooks are in lessons

A file that was changed there is never touched; one that was not gets the newest lesson.
"""

import hashlib
import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import stages
from stages.command_line import Parser

HOME = Path(stages.__file__).parent
LESSONS = next(
    folder for folder in (HOME / "notebooks", HOME.parent / "notebooks") if folder.is_dir()
)
"""In a wheel inside the package, in a checkout beside it."""

GUIDES = {"stages/beyond/README.md": "beyond.md", "stages/client/README.md": "client.md"}
"""What lessons link to, and its name in the folder."""

LINK = re.compile(r"\[([^][\n]+)\]\(\.\./([^)#]*)(#[^)]*)?\)")
LAID = ".lessons.json"
"""The file that remembers what was laid: else nobody could tell what the reader has changed."""


def files() -> dict[str, bytes]:
    """What is laid, by name, with links to what lies there, too."""
    found = {}
    for path in sorted(LESSONS.iterdir()):
        if path.suffix in (".ipynb", ".md", ".svg"):
            text = path.read_text(encoding="utf-8")
            found[path.name] = LINK.sub(link, text).encode()
    for source, name in GUIDES.items():
        text = (HOME.parent / source).read_text(encoding="utf-8")
        found[name] = re.sub(r"\[([^][\n]+)\]\((?!http|#)[^)]*\)", r"\1", text).encode()
    return found


def link(found: re.Match[str]) -> str:
    """A link to a guide; of any other file that is not here only its text."""
    text, target, place = found.groups()
    name = GUIDES.get(target, "README.md" if target == "README.md" else "")
    return f"[{text}]({name}{place or ''})" if name else text


def lay(folder: Path) -> list[str]:
    """Lay all files into the folder; returns the names of those that were left as they are, since
    they were changed there. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    memory = folder / LAID
    before = json.loads(memory.read_text(encoding="utf-8")) if memory.exists() else {}
    laid, kept = {}, []
    for name, data in files().items():
        path = folder / name
        if path.exists() and hash_of(path.read_bytes()) not in (before.get(name), hash_of(data)):
            kept.append(name)
            laid[name] = before.get(name)
        else:
            path.write_bytes(data)
            laid[name] = hash_of(data)
    memory.write_text(json.dumps(laid, indent=1), encoding="utf-8")
    return kept


def hash_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def main() -> None:
    """The command line: `python -m stages.lab FOLDER [--no-open]`."""
    parser = Parser(prog="stages.lab", description="Lay the lessons into a folder, and open them.")
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--no-open", action="store_true", help="lay them, and that is all")
    chosen = parser.parse_args()
    try:
        kept = lay(chosen.folder)
    except (OSError, ValueError) as problem:
        parser.exit(1, f"{parser.prog}: cannot lay the lessons into {chosen.folder}: {problem}\n")
    notebooks = len(list(chosen.folder.glob("*.ipynb")))
    print(f"{notebooks} notebooks are in {chosen.folder}")
    if kept:
        print(f"as you have changed them: {', '.join(kept)}")
    if chosen.no_open:
        return
    if not find_spec("jupyterlab"):
        parser.error("cannot open them without Jupyter: pip install 'message-queue-stages[lab]'")
    first = chosen.folder / "01_basic.ipynb"
    sys.exit(subprocess.call([sys.executable, "-m", "jupyterlab", str(first)]))


if __name__ == "__main__":
    main()
