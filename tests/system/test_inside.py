"""What cannot be seen from outside: the queue's own bookkeeping, and what the stages promise of
themselves."""

import importlib
import random
import re
import sys
from pathlib import Path

import pytest
from house import lines_of_code
from programs import NO_PACKAGES, killed_at_the_end, talk
from recorder import Recorder

from stages import STAGES, basic, disconnects, wire

ROOT = Path(__file__).parents[2]


def test_a_message_is_encoded_once_for_all_its_recipients() -> None:
    server, clients = basic.Server(), [Recorder(), Recorder()]
    for client in clients:
        server.handle(b"{'command': 'subscribe', 'topic': 'foo'}", client)
    server.handle(b"{'command': 'send', 'topic': 'foo', 'msg': 'blah'}", clients[0])
    ((first,), (second,)) = (client.written for client in clients)
    assert first is second


def test_the_same_seed_draws_the_same_recipients() -> None:
    def recipients(seed: int) -> list[int]:
        server, clients = disconnects.Server(seed=seed), [Recorder() for _ in range(5)]
        for client in clients:
            server.handle(b"{'command': 'subscribe', 'topic': 'foo'}", client)
        for _ in range(20):
            server.handle(
                b"{'command': 'send', 'topic': 'foo', 'msg': 1, 'delivery': 'one'}", clients[0]
            )
        return [len(client.written) for client in clients]

    assert recipients(42) == recipients(42) != recipients(43)


def test_nothing_is_kept_of_a_client_that_is_gone() -> None:
    server, rng = disconnects.Server(), random.Random(42)
    for _ in range(100):
        client = Recorder()
        for _ in range(5):
            server.handle(f"{{'command': 'subscribe', 'topic': '{rng.random()}'}}".encode(), client)
        server.disconnect(client)
    assert (server.topics, server.topics_of, server.caches, server.indexes) == ({}, {}, {}, {})


ERRORS = {
    b"\xff": "not UTF-8: expected a line such as {'command': 'subscribe', 'topic': 'foo'}",
    b"hello": "not a Python literal (a quote or bracket missing?): "
    "expected a line such as {'command': 'subscribe', 'topic': 'foo'}",
    b"[]": "not a dict: expected a line such as {'command': 'subscribe', 'topic': 'foo'}",
    b"x" * 65537: "line too long: expected at most 65536 bytes",
    b"{}": "'command' must be 'subscribe' or 'send': it is missing",
    b"{'command': 'publish'}": "'command' must be 'subscribe' or 'send': got 'publish'",
    b"{'command': 'send', 'topic': 1}": "'topic' must be a string: got 1",
    b"{'command': 'send', 'topic': ''}": "'msg' must be any literal: it is missing",
    b"{'command': 'send', 'topic': '', 'msg': '', 'delivery': 'al'}": "'delivery' must be 'all' or 'one': got 'al'",
    b"{'command': 'subscribe', 'topic': '', 'last_seen': 1.5}": "'last_seen' must be an index such as 123 or '123': "
    "got 1.5",
}


@pytest.mark.parametrize("line", ERRORS, ids=lambda line: repr(line)[:40])
def test_an_error_says_what_is_wrong_and_what_was_expected(line: bytes) -> None:
    client = Recorder()
    disconnects.Server().handle(line, client)
    assert client.written == [wire.encode({"error": ERRORS[line]})]


def test_each_stage_keeps_the_promise_of_the_table_of_contents() -> None:
    docs = {name: importlib.import_module(f"stages.{name}").__doc__ or "" for name in STAGES}
    assert {name: doc.splitlines()[0] for name, doc in docs.items()} == STAGES


def test_readme_tells_the_promise_and_the_length_of_each_stage() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name, promise in STAGES.items():
        path = f"stages/{name.replace('.', '/')}.py"
        assert (
            f"| [{name.rpartition('.')[2]}]({path}) | {promise} | {lines_of_code(ROOT / path)} |"
            in readme
        )


def commands_of(section: str) -> list[str]:
    """The indented lines of a section of README."""
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    begin = lines.index(f"## {section}")
    end = next(n for n, line in enumerate(lines) if n > begin and line.startswith("## "))
    return [line.strip() for line in lines[begin:end] if line.startswith("    ")]


def test_readme_says_first_how_to_run_it_and_how_to_pass_its_tests() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    begun = [line for line in lines[:40] if line.startswith("## ")]
    assert begun[:2] == ["## Run it", "## Pass its tests"]
    (command,) = commands_of("Pass its tests")
    assert f"\n{command}\n" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    told = "\n".join(lines[lines.index("## Pass its tests") :])
    assert re.search(r"some \d+ minutes", told)


def test_readmes_first_command_runs_as_it_stands_there_with_nothing_installed() -> None:
    first, *typed = commands_of("Run it")
    python, *arguments, port = first.split()
    assert (python, port) == ("python3", "7777")  # a port that may be taken here
    command = [sys.executable, NO_PACKAGES, *arguments, "0"]
    with killed_at_the_end(command) as process:
        assert process.stdout
        name, _, port = process.stdout.readline().rpartition(":")
        assert name == "stages.last_seen listening on localhost"
        heard = talk(int(port), "\n".join([*typed, "quit\n"]))
    assert heard == f"{typed[1][:-1]}, 'index': 0}}\n"


def test_nothing_is_kept_of_a_topic_that_nobody_subscribes_to_any_more() -> None:
    class Client:
        def write(self, data: bytes) -> None:
            pass

    server, alice, bob = disconnects.Server(), Client(), Client()
    for client in (alice, bob):
        server.subscribe({"topic": "foo"}, client)
    server.disconnect(alice)
    assert server.topics == {"foo": {bob: None}}
    server.disconnect(bob)
    assert (server.topics, server.topics_of) == ({}, {})
