"""What is installed from a wheel works in an empty folder: run by `.ci/package`."""

import asyncio
import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stages import __version__, disconnects
from stages.lab import check

STAGES = Path(sysconfig.get_path("scripts")) / ("stages.exe" if os.name == "nt" else "stages")
SITE = Path(sysconfig.get_path("purelib"))
MINE = """
from stages import disconnects

class Server(disconnects.Server):
    pass
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        arguments, capture_output=True, text=True, encoding="utf-8", check=False, timeout=300
    )


def module(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, "-m", name, *arguments)


@contextmanager
def serving(*command: str) -> Iterator[str]:
    """A server that the command starts, and its port."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield process.stdout.readline().strip().rpartition(":")[2]
        process.terminate()


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "mit Leerzeichen, und größer"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_nothing_but_stages_is_put_among_the_packages() -> None:
    files = (SITE / f"message_queue_stages-{__version__}.dist-info" / "RECORD").read_text("utf-8")
    tops = {line.partition("/")[0] for line in files.splitlines() if not line.startswith("..")}
    assert tops == {"stages", f"message_queue_stages-{__version__}.dist-info"}


@pytest.mark.parametrize(
    "command",
    [
        [sys.executable, "-m", "stages.last_seen", "0", "--quiet"],
        [str(STAGES), "serve", "last_seen", "0", "--quiet"],
    ],
    ids=["module", "command"],
)
def test_a_stage_and_its_client(command: list[str]) -> None:
    with serving(*command) as port:
        assert module("stages.client", port, "send", "foo", "hello").returncode == 0
        told = run(str(STAGES), "client", port, "send", "foo", "hello")
        assert (told.returncode, told.stderr) == (0, "")


def test_every_command_says_its_version() -> None:
    assert run(str(STAGES), "--version").stdout.strip() == __version__
    for name in ("stages.last_seen", "stages.client", "stages.lab", "stages.lab.judge"):
        assert module(name, "--version").stdout.strip() == __version__


def test_help_names_the_commands() -> None:
    told = run(str(STAGES), "--help").stdout
    assert all(f"$ stages {verb} " in told for verb in ("serve", "client", "judge", "learn"))


def test_what_stages_does_not_know_is_one_line() -> None:
    for arguments in (["serve"], ["serve", "nope"], ["nope"]):
        told = run(str(STAGES), *arguments)
        assert (told.returncode, told.stdout) == (2, "")
        assert told.stderr.startswith("stages: expected serve")
        assert told.stderr.count("\n") == 1


def test_a_file_is_judged(empty_folder: Path) -> None:
    (empty_folder / "my_server.py").write_text(MINE, encoding="utf-8")
    for told in (
        module("stages.lab.judge", "my_server.py", "--until", "disconnects"),
        run(str(STAGES), "judge", "my_server.py"),
    ):
        assert told.returncode == 0, told.stderr
        assert told.stdout.rstrip().endswith("solved")


def test_a_class_is_checked() -> None:
    class Mine(disconnects.Server):
        def disconnect(self, client: object) -> None:
            """Forgets nothing."""

    assert str(asyncio.run(check(disconnects.Server, until="basic"))).endswith("solved")
    verdict = str(asyncio.run(check(Mine, until="disconnects")))
    assert "✗ a client that left is sent nothing" in verdict


def test_lessons_are_laid_and_what_was_changed_stays(empty_folder: Path) -> None:
    told = run(str(STAGES), "learn", "meine Lektionen", "--no-open")
    assert (told.returncode, told.stderr) == (0, "")
    folder = empty_folder / "meine Lektionen"
    lesson, other = folder / "01_basic.ipynb", folder / "02_delivery.ipynb"
    lesson.write_text("mine", encoding="utf-8")
    fresh = other.read_bytes()
    memory = json.loads((folder / ".lessons.json").read_text("utf-8"))
    assert set(memory) == {path.name for path in folder.iterdir()} - {".lessons.json"}
    told = module("stages.lab", "meine Lektionen", "--no-open")
    assert told.stdout.rstrip().endswith("as you have changed them: 01_basic.ipynb")
    assert (lesson.read_text("utf-8"), other.read_bytes()) == ("mine", fresh)


def test_links_in_lessons_lead_to_what_lies_beside_them(empty_folder: Path) -> None:
    run(str(STAGES), "learn", ".", "--no-open")
    for notebook in empty_folder.glob("*.ipynb"):
        for cell in json.loads(notebook.read_text("utf-8"))["cells"]:
            text = "".join(cell["source"]) if cell["cell_type"] == "markdown" else ""
            for place in text.split("](")[1:]:
                target = place.partition(")")[0].partition("#")[0]
                if target and not target.startswith("http"):
                    assert (empty_folder / target).exists(), f"{notebook.name}: {target}"


@pytest.mark.skipif(os.name == "nt", reason="a folder of Windows is not so easily locked")
def test_a_folder_that_cannot_be_written_is_one_line(empty_folder: Path) -> None:
    (empty_folder / "file").write_text("", encoding="utf-8")
    told = run(str(STAGES), "learn", "file/lessons", "--no-open")
    assert told.returncode == 1
    assert told.stderr.startswith("stages.lab: cannot lay the lessons into file/lessons: ")
    assert told.stderr.count("\n") == 1
