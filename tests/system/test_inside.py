"""What cannot be seen from outside: the queue's own bookkeeping, and what the stages promise of
themselves."""

import importlib
import random
from pathlib import Path

import pytest
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
