"""What a page of somebody else's makes a real browser post to a stage is not carried out."""

import json
import logging
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from stages import basic, first_line, serve
from stages.beyond import durable, fast, replies, secure
from stages.lab.workbench.background import HOST, Background

WAYS = {
    "fetch": "fetch(url, {method: 'POST', mode: 'no-cors', body: line}).catch(() => {})",
    "beacon": "navigator.sendBeacon(url, line)",
    # A form sends `name=value`: the name is the line, but for its last part.
    "form": """(() => {
        document.body.innerHTML = "<iframe name=hidden></iframe><form><input></form>";
        const form = document.forms[0], at = line.lastIndexOf('"');
        Object.assign(form, {method: 'post', action: url, enctype: 'text/plain', target: 'hidden'});
        Object.assign(form[0], {name: line.slice(0, at) + '", "id": "', value: '"}'});
        form.submit();
    })()""",
}
PATIENCE = 60


def door(**settings: Any) -> serve.Handler:
    return secure.Door(fast.Server(**settings), users="")


STAGES: dict[str, Callable[..., serve.Handler]] = {
    "basic": basic.Server,
    "replies": replies.Server,
    "durable": lambda: durable.Server(data="messages.db"),
    "fast": fast.Server,
    "secure": door,
}


@pytest.fixture(params=STAGES)
def port(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[int]:
    """Where a stage serves."""
    monkeypatch.chdir(tmp_path)
    background = Background(STAGES[request.param]())
    yield background.port
    background.stop()


class Client:
    """An ordinary client, which speaks JSON, and so literals, too."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection((HOST, port), timeout=PATIENCE)
        self.lines = self.socket.makefile("rb")

    def say(self, **command: Any) -> None:
        self.socket.sendall(json.dumps(command).encode() + b"\n")

    def messages(self, until: set[str]) -> list[str]:
        """The texts that come, until all of these have."""
        found: list[str] = []
        while not until <= {*found}:
            line = json.loads(self.lines.readline().replace(b"'", b'"'))
            found += [line["msg"]] if "msg" in line else []
        return found

    def close(self) -> None:
        self.lines.close()
        self.socket.close()


def line(text: str) -> str:
    command = {"command": "send", "topic": "foo", "delivery": "all", "msg": text}
    return json.dumps(command)


def posted(chromium: Browser, address: str, port: int) -> None:
    """Have a page of another port post in each way."""
    for name, way in WAYS.items():
        page = chromium.new_context().new_page()
        page.goto(f"{address}/index.html")
        page.evaluate(
            f"([url, line]) => {{ {way} }}",
            [f"http://{HOST}:{port}/{name}", line(name) + "\n" * (name != "form")],
        )


@pytest.fixture
def clients(port: int) -> Iterator[tuple[Client, Client]]:
    """A subscriber, and somebody else."""
    with closing(Client(port)) as alice, closing(Client(port)) as bob:
        alice.say(command="subscribe", topic="foo")
        alice.say(command="send", topic="foo", msg="subscribed", delivery="all")
        alice.messages({"subscribed"})
        yield alice, bob


def test_without_the_guard_each_way_is_carried_out(
    chromium: Browser,
    address: str,
    port: int,
    clients: tuple[Client, Client],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(first_line, "spoken", lambda data, limit: first_line.COMMANDS)
    posted(chromium, address, port)
    assert {*clients[0].messages({*WAYS})} == {*WAYS}


def test_with_the_guard_only_what_an_ordinary_client_sends_arrives(
    chromium: Browser,
    address: str,
    port: int,
    clients: tuple[Client, Client],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, "stages"):
        posted(chromium, address, port)
        end = time.monotonic() + PATIENCE
        while sum("Rejected: HTTP" in each for each in caplog.messages) < len(WAYS):
            assert time.monotonic() < end, caplog.messages
            time.sleep(0.05)
    alice, bob = clients
    bob.say(command="send", topic="foo", msg="sent", delivery="all")
    assert alice.messages({"sent"}) == ["sent"]


def test_a_person_who_opens_the_port_is_told_what_listens_there(
    chromium: Browser, port: int, request: pytest.FixtureRequest
) -> None:
    page = chromium.new_page()
    answer = page.goto(f"http://localhost:{port}/")
    assert answer
    assert answer.status == 400
    told = page.inner_text("body")
    assert told.startswith("A message queue listens here, not a web server: it takes one command")
    assert f"`python -m stages.client {port}`" in told
    if pictures := request.config.getoption("--pictures"):
        page.screenshot(path=pictures / "port.png")
