"""The live notebooks: each runs in the browser from top to bottom, and shows what is stored."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, OpenPage
from playwright.sync_api import Page, expect

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SOME = ("01", "03", "05", "09", "playground")
PATIENCE = 90
"""Seconds that a cell may take."""

NOT_IN_A_BROWSER = {"07_slow_consumers": 1, "10_fast": 3, "11_cluster": 1, "12_secure": 2}
"""How many cells say that a browser cannot do it: charts, and TLS."""

OPEN = """async (name) => {
  const end = Date.now() + 120_000;
  const until = async (found) => {
    while (Date.now() < end) {
      const value = found();
      if (value) return value;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error("no kernel after two minutes");
  };
  const app = await until(() => window.jupyterapp);
  await app.restored;
  const panel = await until(() =>
    [...app.shell.widgets("main")].find(
      (each) => each.context?.path === name && each.content?.widgets));
  app.shell.activateById(panel.id);
  window.panel = await until(() => app.shell.currentWidget === panel && panel);
  await panel.context.ready;
  await panel.sessionContext.ready;
  const kernel = await until(() => panel.sessionContext.session?.kernel);
  await until(() => kernel.status === "idle");
  await kernel.requestExecute({ code: "import os; os.environ['TQDM_DISABLE'] = '1'" }).done;
}"""

RUN = """async ([number, seconds]) => {
  const notebook = window.panel.content;
  notebook.activeCellIndex = number;
  notebook.deselectAll();
  const run = window.jupyterapp.commands.execute("notebook:run-cell");
  const late = new Promise((resolve) => setTimeout(() => resolve("late"), seconds * 1000));
  return (await Promise.race([run, late])) === "late" ? "late" : "done";
}"""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "notebook" in metafunc.fixturenames:
        every = metafunc.config.getoption("--all")
        chosen = [path for path in NOTEBOOKS if every or path.stem.startswith(SOME)]
        metafunc.parametrize("notebook", chosen, ids=lambda path: path.stem)


def opened(new_page: OpenPage, address: str, name: str) -> Page:
    """A page with a notebook whose kernel is ready."""
    page = new_page(viewport={"width": 1280, "height": 1000})
    page.goto(f"{address}/live/lab/index.html?path={name}")
    page.evaluate(OPEN, name)
    return page


def test_it_shows_in_the_browser_what_is_stored(
    notebook: Path, new_page: OpenPage, address: str, request: pytest.FixtureRequest
) -> None:
    stored = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    page = opened(new_page, address, notebook.name)
    numbers = [number for number, cell in enumerate(stored) if cell["cell_type"] == "code"]
    for number in numbers:
        assert page.evaluate(RUN, [number, PATIENCE]) == "done", f"cell {number} does not end"
    cells = page.evaluate("() => window.panel.context.model.toJSON()")["cells"]
    if pictures := request.config.getoption("--pictures"):
        page.screenshot(path=pictures / f"live_{notebook.stem}.png")
    pairs = {number: (shown(cells[number]), shown(stored[number])) for number in numbers}
    assert {number: pair for number, pair in pairs.items() if not is_same(*pair)} == {}
    told = sum(bool(came) and says_why_not(came[-1]) for came, _ in pairs.values())
    assert told == NOT_IN_A_BROWSER.get(notebook.stem, 0)


def is_same(came: list[dict[str, str]], stored: list[dict[str, str]]) -> bool:
    """Whether a cell shows what is stored, at least up to where it says that a browser cannot."""
    if came and says_why_not(came[-1]):
        return came[:-1] == stored[: len(came) - 1]
    return came == stored


def shown(cell: dict[str, Any]) -> list[dict[str, str]]:
    """What is compared of the outputs of a cell: all but widgets and charts, as nbval does it."""
    return [
        {kind: data for kind, data in each.items() if "widget" not in kind}
        for each in map(bundle, cell["outputs"])
        if "image/png" not in each
    ]


def bundle(output: dict[str, Any]) -> dict[str, str]:
    """An output by kinds."""
    if output["output_type"] == "stream":
        return {output["name"]: "".join(output["text"])}
    if output["output_type"] == "error":
        return {output["ename"]: "\n".join(output["traceback"])}
    return {
        kind: "".join(data) if isinstance(data, list) else data
        for kind, data in output["data"].items()
    }


def says_why_not(shown: dict[str, str]) -> bool:
    """Whether it says, in one sentence, that a browser cannot do it."""
    return any(
        "NotInABrowser" in kind and re.fullmatch(r"Not in a browser: [^\n]+\.", text)
        for kind, text in shown.items()
    )


def test_the_playground_answers_clicks(new_page: OpenPage, address: str) -> None:
    page = opened(new_page, address, "playground.ipynb")
    page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-cells')")
    page.get_by_role("button", name="crash the server").click()
    expect(page.locator(".widget-html", has_text="is gone").first).to_be_visible()
    page.get_by_role("button", name="connect", exact=True).first.click()
    page.get_by_role("button", name="subscribe").first.click()
    expect(page.locator(".widget-html", has_text="caching.subscribe").first).to_be_visible()
