"""Which room of the house uses which: the imports of all modules, also those inside functions.

A room is a folder, or a module that stands in none.
"""

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = ROOT / "stages" / "README.md"
PICTURE = re.compile(r"(?<=```mermaid\n).*?(?=```)", re.DOTALL)

Graph = dict[str, set[str]]
"""What each uses."""

FOLDERS = ("beyond", "lab")
ALONE = ("stages.lab.judge", "stages.lab.playground", "stages.lab.stories")
"""Modules of the lab that are rooms by themselves."""

NAMES = {
    "stages": "basic … disconnects, serve, wire",
    "stages.beyond": "replies … secure",
    "stages.lab": "what a notebook imports",
    "stages.client": "client",
}


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted((ROOT / "stages").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts).removesuffix(".__init__")] = path
    return found


def imports() -> Graph:
    """What each module imports, of ours."""
    known = modules()
    return {name: set(imported(path, known)) - {name} for name, path in known.items()}


def imported(path: Path, known: dict[str, Path]) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                yield submodule if submodule in known else node.module


def room_of(module: str) -> str:
    """`stages.beyond.broker.topic` is in `stages.beyond.broker`; a package is in itself."""
    if module in ALONE:
        return module
    parts = module.split(".")
    is_package = modules()[module].stem == "__init__"
    rooms = parts if is_package else parts[:-1]
    return ".".join(rooms[:3])  # what is deeper belongs to its floor


def rooms(graph: Graph) -> Graph:
    """What each room uses of others."""
    found: Graph = {}
    for module, used in graph.items():
        room = room_of(module)
        found.setdefault(room, set()).update({room_of(each) for each in used} - {room})
    return found


def in_order(graph: Graph) -> list[str]:
    """Each after all that it uses. Raises `graphlib.CycleError` if that cannot be."""
    return list(TopologicalSorter(graph).static_order())


def without_detours(graph: Graph) -> Graph:
    """Only the arrows that no way through another room replaces."""
    return {
        room: {each for each in used if not any(each in reach(graph, other) for other in used)}
        for room, used in graph.items()
    }


def reach(graph: Graph, room: str) -> set[str]:
    """All that a room uses, by whatever way."""
    found: set[str] = set()
    for each in graph[room]:
        found |= {each} | reach(graph, each)
    return found


def picture() -> str:
    """The rooms in the language of Mermaid, which code hosts draw."""
    graph = rooms(imports())
    order = list(reversed(in_order(graph)))
    lines = ["flowchart TD"]
    for house in FOLDERS:
        lines += [f"    subgraph {house}"]
        lines += [f"    {box(room)}" for room in order if room.split(".")[1:2] == [house]]
        lines += ["    end"]
    lines += [box("stages.client"), box("stages")]
    for room, used in sorted(without_detours(graph).items()):
        lines += [f"    {identifier(room)} --> {identifier(each)}" for each in sorted(used)]
    return "\n".join(lines) + "\n"


def box(room: str) -> str:
    return f'    {identifier(room)}["{NAMES.get(room, room.rpartition(".")[2])}"]'


def identifier(room: str) -> str:
    return room.replace(".", "_")
