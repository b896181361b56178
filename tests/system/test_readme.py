"""README is a screen or two, and what it tells you to type runs as it stands there, but for the
port, in a fresh copy."""

import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import texts
import trustme
from programs import NO_PACKAGES, ROOT, killed_at_the_end, talk

from stages.patience import patient

README = (ROOT / "README.md").read_text(encoding="utf-8")
LINES = README.splitlines()
INDENTED = [line.strip() for line in LINES if line.startswith("    ")]
COMMANDS = [line for line in INDENTED if re.match(r"(python3|bash|\.venv/bin/\w+) ", line)]

NOT_RUN = {
    "bash .ci/test": "these tests are run by it",
    "python3 -m venv .venv": "the command before makes one, and installs more",
    ".venv/bin/pip install -e '.[lab]'": "the same",
    ".venv/bin/jupyter lab notebooks/01_basic.ipynb": "it opens a browser, and waits there",
    ".venv/bin/python -m stages.beyond.cluster 7777 --engine nats://one:4222,nats://two:4222": (
        "it needs machines of these names; `test_engine` runs it on three nodes of this one"
    ),
}

SERVER = """
from stages import basic

class Server(basic.Server):
    pass
"""


def the_one_with(words: str) -> str:
    (line,) = (each for each in COMMANDS if words in each)
    return line


FIRST, SERVE, DOOR = map(the_one_with, ("last_seen", "beyond.fast", "beyond.secure"))
SEND, JUDGE_A_FILE, JUDGE_A_PORT = map(the_one_with, ("send ", "my_server.py", "localhost:7777"))
RUN = {FIRST, SERVE, DOOR, SEND, JUDGE_A_FILE, JUDGE_A_PORT}


def at(port: int, command: str) -> list[str]:
    """The command as it is run here, at another port."""
    program, *arguments = command.replace("7777", str(port)).split()
    assert program in ("python3", ".venv/bin/python")
    return [sys.executable, *arguments]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(
        ROOT / "stages", tmp_path / "stages", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copytree(ROOT / "tests" / "claims", tmp_path / "tests" / "claims")
    return tmp_path


@pytest.fixture
def port() -> int:
    """One that is free."""
    with socket.create_server(("localhost", 0)) as listener:
        found: int = listener.getsockname()[1]
    return found


def until_it_listens(process: "subprocess.Popen[str]") -> None:
    assert process.stdout
    for line in process.stdout:
        if " listening on " in line:
            return
    pytest.fail(f"it ended: {process.stderr and process.stderr.read()}")


def test_it_is_short_and_says_first_how_to_run_it_and_how_to_pass_its_tests() -> None:
    assert len(LINES) <= 130
    assert [line for line in LINES if len(line) > 100 and line[0] not in "|!"] == []
    begun = [line for line in LINES[:40] if line.startswith("## ")]
    assert begun[:2] == ["## Run it", "## Pass its tests"]
    assert "\nbash .ci/test\n" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert re.search(r"some \d+ minutes", README)


def test_what_a_program_can_count_is_counted() -> None:
    for path, text in texts.made().items():
        assert path.read_text(encoding="utf-8") == text, "run .ci/texts.py"


@pytest.mark.parametrize(
    "path",
    [
        path
        for path in ROOT.glob("**/*.md")
        if not {".venv", "_site", "node_modules"} & {*path.parts}
    ],
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_links_lead_somewhere_and_to_no_address_that_is_invented(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for target, place in re.findall(r"\]\(([^)#\s]*)(#[^)]*)?\)", text):
        if not target.startswith("http"):
            there = path.parent / target if target else path
            assert there.exists(), target
            titles = re.findall(r"^#+ (.*)$", there.read_text("utf-8"), re.M) if place else []
            slugs = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
            assert not place or place[1:] in slugs, place


def test_the_first_command_runs_with_nothing_installed(copy: Path, port: int) -> None:
    command = at(port, FIRST)
    begin = LINES.index("## Run it")
    typed = [line.strip() for line in LINES[begin : begin + 14] if line.startswith("    {")]
    with killed_at_the_end([command[0], NO_PACKAGES, *command[1:]], cwd=copy) as process:
        assert process.stdout
        told = process.stdout.readline()
        assert told == f"stages.last_seen listening on localhost:{port}\n"
        heard = talk(port, "\n".join([*typed, "quit\n"]))
        assert heard == f"{typed[1][:-1]}, 'index': 0}}\n"
        client = [sys.executable, NO_PACKAGES, "-m", "stages.client", str(port)]
        assert "`python3 -m stages.client 7777`" in README.replace("\n", " ")
        typed_to_it = subprocess.run(
            client, cwd=copy, input=typed[1], text=True, capture_output=True, timeout=patient(60)
        )
        assert (typed_to_it.returncode, typed_to_it.stderr) == (0, "")


@pytest.mark.slow
def test_a_server_of_your_own_is_judged(copy: Path, port: int) -> None:
    (copy / "my_server.py").write_text(SERVER, encoding="utf-8")
    judge = at(port, JUDGE_A_FILE)
    told = subprocess.run(judge, cwd=copy, capture_output=True, text=True, timeout=patient(300))
    assert "✓ a message reaches every subscriber of its topic" in told.stdout, told.stderr
    with killed_at_the_end(
        [sys.executable, "-m", "stages.caching", str(port), "--quiet"], cwd=copy
    ) as process:
        until_it_listens(process)
        judge = at(port, JUDGE_A_PORT)
        told = subprocess.run(judge, cwd=copy, capture_output=True, text=True, timeout=patient(300))
    assert (told.returncode, told.stdout.rstrip()[-6:]) == (0, "solved"), told.stdout


@pytest.mark.slow
def test_the_worker_does_the_job(copy: Path, port: int) -> None:
    begin = LINES.index("    import asyncio")
    end = next(n for n in range(begin, len(LINES)) if LINES[n] == "    asyncio.run(main())")
    program = "\n".join(line[4:] for line in LINES[begin : end + 1])
    worker = program.replace("7777", str(port)).replace('job["msg"])', 'job["msg"], flush=True)')
    with killed_at_the_end(at(port, SERVE), cwd=copy) as server:
        until_it_listens(server)
        with killed_at_the_end([sys.executable, "-c", worker], cwd=copy) as working:
            send = at(port, SEND)
            sent = subprocess.run(send, cwd=copy, capture_output=True, timeout=patient(60))
            assert (sent.returncode, sent.stderr) == (0, b"")
            assert working.stdout
            assert working.stdout.readline() == "doing hello\n"
    assert (copy / "messages.db").exists()


@pytest.mark.slow
def test_the_door_opens(copy: Path, port: int) -> None:
    (copy / "users.toml").write_text("", encoding="utf-8")
    made = trustme.CA().issue_cert("localhost")
    made.private_key_and_cert_chain_pem.write_to_path(str(copy / "server.pem"))
    with killed_at_the_end(at(port, DOOR), cwd=copy) as process:
        until_it_listens(process)


def test_every_other_command_has_a_reason_why_it_is_not_run() -> None:
    assert {*COMMANDS} == RUN | {*NOT_RUN}
