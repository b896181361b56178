"""The notebooks keep their form, and their solutions solve the exercises."""

import json
import re
from ast import PyCF_ALLOW_TOP_LEVEL_AWAIT
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from stages.lab import check

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells(path: Path, kind: str) -> list[dict[str, Any]]:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == kind]


def text(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


EXEMPT = "nbval-ignore-output"
"""A page with the product's source in it: see the next test."""


@every_notebook
def test_nothing_hides_from_nbval(path: Path) -> None:
    counts = [cell["execution_count"] for cell in cells(path, "code")]
    assert counts == list(range(1, len(counts) + 1))
    told = [cell for cell in cells(path, "code") if cell["metadata"].get("tags") == [EXEMPT]]
    assert path.read_text(encoding="utf-8").lower().count("nbval") == len(told)
    assert all("await compare(" in text(cell) for cell in told)


def comparison_in(cell: dict[str, Any]) -> tuple[str, dict[str, Any], str]:
    """What a cell has stored of two stages: the films as text, what ran, and the rest of the
    page."""
    (output,) = [each["data"] for each in cell["outputs"] if "data" in each]
    page, ran = "".join(output["text/html"]), re.compile("^const DATA = (.*);$", re.MULTILINE)
    (data,) = ran.findall(unescape(page))
    return "".join(output["text/plain"]), json.loads(data), ran.sub("", unescape(page))


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", [path for path in NOTEBOOKS if EXEMPT in path.read_text()], ids=lambda path: path.stem
)
async def test_a_page_of_two_stages_shows_the_code_of_today(path: Path) -> None:
    code = cells(path, "code")
    (cell,) = [each for each in code if EXEMPT in each["metadata"].get("tags", [])]
    names: dict[str, Any] = {}
    lines = "\n".join(map(text, code)).splitlines()
    exec("\n".join(line for line in lines if line.startswith(("from ", "import "))), names)
    source = text(cell)[text(cell).index("await compare(") :]
    made = eval(compile(source, path.name, "eval", PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
    comparison: Any = await made
    now = {"data": comparison._repr_mimebundle_()}
    texts, stored, page = comparison_in(cell)
    texts_now, data, page_now = comparison_in({"outputs": [now]})
    assert texts == texts_now
    functions, functions_now = (
        {name: "\n".join(source) for name, _, source in each["functions"]}
        for each in (stored, data)
    )
    for name, source in functions_now.items():
        assert functions.get(name) == source, f"run .ci/refresh.py: it shows an older {name}"
    assert stored == json.loads(json.dumps(data)), "run .ci/refresh.py: other lines have run"
    assert page == page_now, "run .ci/refresh.py: the page is another one"


LESSONS = [path for path in NOTEBOOKS if path.stem[0].isdigit()]
every_lesson = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)


@every_lesson
def test_a_lesson_is_short_and_so_are_its_cells(path: Path) -> None:
    code = cells(path, "code")
    assert 12 <= len(code) + len(cells(path, "markdown")) <= 45
    lengths = {text(cell): sum(map(bool, text(cell).splitlines())) for cell in code}
    assert [
        source
        for source, n in lengths.items()
        if n > (16 if re.search("^(class|async def) ", source, re.M) else 8)
    ] == []


@every_lesson
def test_no_listing_is_longer_than_40_lines(path: Path) -> None:
    shown = [
        "".join(output["data"]["text/plain"])
        for cell in cells(path, "code")
        if text(cell).startswith("show(") or "\nshow(" in text(cell)
        for output in cell["outputs"]
    ]
    assert [listing for listing in shown if listing.count("\n") > 42] == []  # with its title


@every_lesson
def test_a_lesson_lets_you_build_first_and_shows_ours_folded(path: Path) -> None:
    places = [text(cell) for cell in [*json.loads(path.read_text(encoding="utf-8"))["cells"]]]
    build = next(n for n, source in enumerate(places) if "## Build it" in source)
    assert "class Mine" in places[build + 1]
    assert "await check(Mine, " in places[build + 1]
    assert "Hint 1: " in "".join(places[build + 2 : build + 4])
    assert any('folded="Ours' in source for source in places[build:])
    assert not any(
        "class Server" in source or "show(" in source
        for source in places[:build]
        if "show(slow." not in source
    )
    assert any(source.startswith("guess = {") for source in places)


HIDDEN = "<!-- What do you expect? Run the cell. -->"


def answers(path: Path) -> Iterator[dict[str, Any]]:
    """The cells that answer a question: those between it and the next text that have an output, but
    not the page of two stages, where the reader looks for the answer."""
    asked = False
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "markdown":
            asked = text(cell).rstrip().endswith("?**")
        elif "guess = {" in text(cell):
            asked = True
        elif "await compare(" in text(cell):
            asked = False
        elif cell["outputs"] and asked:
            yield cell


@every_lesson
def test_an_answer_is_hidden_until_the_reader_runs_its_cell(path: Path) -> None:
    found = list(answers(path))
    assert len(found) >= 3
    for cell in found:
        assert cell["metadata"].get("jupyter") == {"outputs_hidden": True}, text(cell)
        assert "".join(cell["outputs"][0]["data"]["text/html"]).startswith(HIDDEN)


@every_lesson
def test_what_explains_an_answer_is_folded(path: Path) -> None:
    assert (
        "".join(map(text, cells(path, "markdown"))).count("<summary>What happened</summary>") >= 2
    )


@every_lesson
def test_a_lesson_has_a_film_and_the_same_story_on_two_stages(path: Path) -> None:
    sources = "\n".join(text(cell) for cell in cells(path, "code"))
    assert "lab.film(" in sources
    assert "await compare(" in sources or path.stem.startswith("01")


@every_lesson
def test_no_diagram_is_wider_than_a_notebook(path: Path) -> None:
    for cell in cells(path, "code"):
        for output in cell["outputs"]:
            for svg in output.get("data", {}).get("image/svg+xml", [])[:1]:
                assert int(re.findall(r'width="(\d+)"', svg)[0]) <= 848


@every_lesson
def test_a_lesson_says_where_it_stands_on_top_and_at_the_end(path: Path) -> None:
    number = int(path.stem[:2])
    around = [f"]({LESSONS[n].name})" for n in (number - 2, number) if 0 <= n < len(LESSONS)]
    prose = [text(cell) for cell in cells(path, "markdown")]
    for part in (prose[0], prose[-1]):
        (line,) = [line for line in part.splitlines() if line.startswith("Lesson ")]
        assert line.startswith(f"Lesson {number} of {len(LESSONS)} · about ")
        assert all(link in line for link in around)


def exercises() -> Iterator[Any]:
    """Each exercise: the cell that sets it, its solution, the name of the class, and its own
    name."""
    for path in NOTEBOOKS:
        prose = "".join(text(cell) for cell in cells(path, "markdown"))
        solutions = re.findall("<details>.*?```python\n(.*?)```", prose, re.DOTALL)
        for source in [text(cell) for cell in cells(path, "code")]:
            for name, exercise in re.findall(r'await check\((\w+), "(\w+)"', source):
                (solution,) = [solution for solution in solutions if f"class {name}(" in solution]
                yield pytest.param(source, solution, name, exercise, id=exercise)


@pytest.mark.slow
@pytest.mark.parametrize(("source", "solution", "name", "exercise"), list(exercises()))
async def test_the_solution_solves_the_exercise_and_the_task_alone_does_not(
    source: str, solution: str, name: str, exercise: str
) -> None:
    scope: dict[str, Any] = {}
    exec("from stages import basic, caching, delivery, disconnects, last_seen, wire", scope)
    exec("from stages.beyond import acks, cluster, durable, fast, replies", scope)
    exec("from stages.beyond.broker import commands", scope)
    exec("from stages.beyond import secure, slow_consumers", scope)
    exec("from stages.beyond.door import users", scope)
    exec("from stages.beyond.door.users import User", scope)
    exec("from stages.beyond.log.replica import Replica", scope)
    exec("from stages.beyond.broker import Broker", scope)
    exec(
        "from stages.beyond.broker.commands import Ack, Command, Message, Send, Subscribe, Unsubscribe",
        scope,
    )
    exec(source.partition("await check")[0], scope)
    assert str(await check(scope[name], exercise)).endswith("not yet")
    exec(solution, scope)
    assert str(await check(scope[name], exercise)).endswith("solved")
