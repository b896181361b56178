"""The rules of the house: see `stages/README.md`."""

import importlib
import inspect
import re
import subprocess
import sys
import sysconfig
from graphlib import CycleError
from typing import Any

import architecture
import msgspec
import pytest
from programs import ROOT
from texts import lines_of_code

from stages import STAGES, settings
from stages.beyond import secure
from stages.beyond.broker import Rules

ARTICLE = [name for name in STAGES if "." not in name]


def test_what_a_stage_extends_and_what_it_overrides() -> None:
    """Up to `acks` each extends the one before; from there on a stage is told by what its server
    holds, and overrides nothing that its base has overridden."""
    servers = {name: importlib.import_module(f"stages.{name}").Server for name in STAGES}
    article = [servers[name] for name in ARTICLE]
    beyond = [servers[f"beyond.{name}"] for name in ("replies", "slow_consumers", "acks")]
    for chain in (article, beyond):
        assert [server.__base__ for server in chain] == [object, *chain[:-1]]
    holding = [servers[f"beyond.{name}"] for name in ("durable", "fast", "cluster")]
    assert [server.__base__ for server in holding] == [beyond[-1], beyond[-1], holding[1]]
    for server in holding:
        overridden = {
            name
            for base in server.__mro__[1:-1]
            for name, member in vars(base).items()
            if inspect.isfunction(member) and hasattr(super(base, base), name)
        }
        own = {name for name, member in vars(server).items() if inspect.isfunction(member)}
        assert {name for name in own & overridden if not name.startswith("__")} == set()
    assert servers["beyond.secure"].__mro__ == (secure.Door, object)  # it holds what is behind


WHERE_FROM = """
import sys
before = {*sys.modules}
import %s
for name in {*sys.modules} - before:
    print(name, getattr(sys.modules[name], "__file__", None) or "built in")
"""


def test_the_stages_of_the_article_import_nothing_but_python_itself() -> None:
    code = WHERE_FROM % ", ".join(f"stages.{name}" for name in ARTICLE)
    result = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    imported = dict(line.split(" ", 1) for line in result.stdout.splitlines())
    own = (str(ROOT / "stages"), sysconfig.get_path("stdlib"), "built in")
    assert {"stages.basic", "asyncio"} <= imported.keys()
    assert {name: path for name, path in imported.items() if not path.startswith(own)} == {}
    assert not any("site-packages" in path for path in imported.values())


def test_the_stages_of_the_article_together_are_at_most_140_lines() -> None:
    assert sum(lines_of_code(ROOT / f"stages/{name}.py") for name in ARTICLE) <= 140


def test_arrows_point_one_way() -> None:
    """No circles, of modules or of rooms, and imports inside functions count."""
    modules = architecture.imports()
    architecture.in_order(modules)  # raises CycleError
    rooms = architecture.rooms(modules)
    architecture.in_order(rooms)
    assert rooms["stages"] == rooms["stages.beyond.broker"] == set()
    assert rooms["stages.client"] == {"stages"}
    assert rooms["stages.beyond.server"] == {"stages", "stages.beyond.broker"}
    above = {"stages.beyond.server", "stages.beyond.log", "stages.beyond.door"}
    for part in ("stages.beyond.log", "stages.beyond.door"):
        assert rooms[part] <= {"stages", "stages.beyond.broker", "stages.beyond.server"}
    assert rooms["stages.beyond"] <= {"stages", "stages.beyond.broker", *above}
    assert not any(used.startswith("stages.lab") for each in above for used in rooms[each])


def test_a_circle_that_an_import_inside_a_function_closes_is_found() -> None:
    closed = {"a": {"b"}, "b": {"c"}, "c": {"a"}}
    with pytest.raises(CycleError):
        architecture.in_order(closed)
    module = ROOT / "stages" / "beyond" / "cluster.py"  # which loads the engine's when it needs it
    known = architecture.modules()
    assert "stages.beyond.log.jetstream" in set(architecture.imported(module, known))


def test_all_rooms_are_told_of() -> None:
    text = architecture.README.read_text(encoding="utf-8")
    links = set(re.findall(r"\]\(([\w/.]+)\)", text))
    beyond = ROOT / "stages" / "beyond"
    parts = {
        path.relative_to(ROOT / "stages").as_posix()
        for path in beyond.glob("*/*.py")
        if path.stem != "__init__"
    }
    assert parts <= links
    assert [link for link in links if not (ROOT / "stages" / link).exists()] == []


def too_long(pattern: str, most: int) -> list[str]:
    files = (ROOT / "stages" / "beyond").glob(pattern)
    return [path.name for path in files if len(path.read_text("utf-8").splitlines()) > most]


def test_a_page_is_a_page_and_a_part_is_short() -> None:
    assert too_long("*.py", 260) == too_long("*/*.py", 300) == []
    pages = {path.stem for path in (ROOT / "stages" / "beyond").glob("*.py")} - {"__init__"}
    assert pages == {name.removeprefix("beyond.") for name in STAGES if "." in name}


def test_nothing_imports_from_a_test_module() -> None:
    imports = re.compile(r"^\s*(?:from|import) (?:test_\w+|conftest)\b", re.MULTILINE)
    files = [*(ROOT / "tests").rglob("*.py"), *(ROOT / "stages").rglob("*.py")]
    found = {path.name: imports.findall(path.read_text(encoding="utf-8")) for path in files}
    assert {name: lines for name, lines in found.items() if lines} == {}


LONG_CACHES = ("durable", "fast", "cluster", "secure")


@pytest.mark.parametrize("name", ["acks", *LONG_CACHES])
def test_each_rule_of_a_broker_is_a_setting_of_its_server(name: str) -> None:
    """And has the same value, if neither says anything else."""
    server: Any = importlib.import_module(f"stages.beyond.{name}").Server
    kinds = [server, *settings.parts_of(server).values()]
    taken = {each.name: each.default for kind in kinds for each in settings.settings_of(kind)}
    wanted = msgspec.structs.asdict(Rules()) | (
        {"cache_length": 10_000} if name in LONG_CACHES else {}
    )
    assert {rule: taken[rule] for rule in wanted} == wanted
