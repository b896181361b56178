"""Run all notebooks anew, and store them so that git shows only real changes.

    $ python -m stages.lab.refresh

Running it twice changes nothing. The picture of the cell tagged `readme` becomes README's.
"""

import os
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


def run(notebook: NotebookNode) -> None:
    """Execute the notebook and leave nothing in it that differs from run to run."""
    os.environ["TQDM_DISABLE"] = "1"  # in its kernel: a slow check would show a progress bar
    NotebookClient(notebook, timeout=60, resources={"metadata": {"path": NOTEBOOKS}}).execute()
    notebook.metadata = METADATA
    notebook.nbformat_minor = 5
    for number, cell in enumerate(notebook.cells, 1):
        cell.id = f"c{number:02}"
        cell.metadata = {"tags": cell.metadata.tags} if "tags" in cell.metadata else {}
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(
                "application/vnd.jupyter.widget-view+json", None
            )  # names a live object


def picture(notebook: NotebookNode) -> str | None:
    """The SVG of the cell tagged `readme`."""
    for cell in notebook.cells:
        if "readme" in cell.metadata.get("tags", []):
            return str(cell.outputs[0].data["image/svg+xml"])
    return None


def main() -> None:
    paths = sorted(NOTEBOOKS.glob("*.ipynb"))
    if not paths:
        raise SystemExit("no notebooks here: run this in the project's own folder")
    for path in tqdm(paths, unit="notebook"):
        notebook = nbformat.read(path, as_version=4)
        run(notebook)
        nbformat.write(notebook, path)
        if svg := picture(notebook):
            (NOTEBOOKS / "diagram.svg").write_text(svg + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
