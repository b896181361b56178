"""Run all notebooks anew, and store them so that git shows only real changes.

    $ python .ci/refresh.py

Running it twice changes nothing. The film of the cell tagged `readme` becomes README's.
"""

from base64 import b64decode
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from tqdm import tqdm

NOTEBOOKS = Path("notebooks")
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}

HIDDEN = {"jupyter": {"outputs_hidden": True}}
"""Of a cell tagged `predict`: the answer is seen when the reader runs it."""


def run(notebook: NotebookNode) -> None:
    """Execute the notebook and leave nothing in it that differs from run to run."""
    NotebookClient(notebook, timeout=60, resources={"metadata": {"path": NOTEBOOKS}}).execute()
    notebook.metadata = METADATA
    notebook.nbformat_minor = 5
    for number, cell in enumerate(notebook.cells, 1):
        cell.id = f"c{number:02}"
        tags = cell.metadata.get("tags", [])
        cell.metadata = ({"tags": tags} if tags else {}) | (HIDDEN if "predict" in tags else {})
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(
                "application/vnd.jupyter.widget-view+json", None
            )  # names a live object


def film(notebook: NotebookNode) -> bytes | None:
    """The SVG of the cell tagged `readme`."""
    for cell in notebook.cells:
        if "readme" in cell.metadata.get("tags", []):
            html = cell.outputs[0].data["text/html"]
            return b64decode(html.partition(";base64,")[2].partition('"')[0])
    return None


def main() -> None:
    paths = sorted(NOTEBOOKS.glob("*.ipynb"))
    if not paths:
        raise SystemExit("no notebooks here: run this in the project's own folder")
    for path in tqdm(paths, unit="notebook"):
        notebook = nbformat.read(path, as_version=4)
        run(notebook)
        nbformat.write(notebook, path)
        if svg := film(notebook):
            (NOTEBOOKS / "film.svg").write_bytes(svg + b"\n")


if __name__ == "__main__":
    main()
