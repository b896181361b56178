"""What `secure` introduces, and the attacks that it withstands."""

import asyncio
import datetime
import json
import logging
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trustme
from broken import secure as wrong
from claim_bench import Bench, claims_of
from clusters import PAGES
from doors import (
    ALICE,
    BOB,
    CA,
    EVERYBODY,
    HOST,
    OVER_TLS,
    USERS,
    auth,
    line,
    send,
    served,
    subscribe,
    talk,
    trusting,
    verdicts,
)
from peer import Peer
from programs import ROOT, started

from stages import serve, wire
from stages.beyond import cluster, durable, fast, secure
from stages.beyond.broker.commands import LIMIT
from stages.beyond.door import guard, users
from stages.client import Client
from stages.client.follow import follow
from stages.client.work import work
from stages.lab.lessons.secure.relay import Relay
from stages.patience import patient

pytestmark = pytest.mark.slow


@pytest.fixture
def door(tmp_path: Path) -> Callable[..., Any]:
    """Makes a server with three users."""
    path = tmp_path / "users.toml"
    path.write_text(USERS)
    return partial(secure.Door, users=str(path), penalty=0.05, login_time=0.3)


@pytest.fixture
async def port(door: Callable[..., Any]) -> AsyncIterator[int]:
    async with served(door()) as port:
        yield port


# Who comes in


async def test_a_client_that_is_known_gets_in_and_all_may_come_at_once(port: int) -> None:
    assert verdicts(await talk(port, auth(ALICE), send("news/a"))) == [True, True]
    heard = await talk(port, auth(ALICE, id=7), subscribe("news/a", id="x"))
    assert heard[:2] == [{"success": True, "id": 7}, {"success": True, "id": "x"}]
    assert [each["msg"] for each in heard[2:]] == ["hi"]


FIRST_LINES = [
    *[auth(token) for token in ("wrong", "", "ä\ud800", ALICE[:-1], f"{ALICE} ", f" {ALICE}")],
    *[auth(token) for token in (ALICE.swapcase(), users.hash_of(ALICE), None, [ALICE], 7, True)],
    auth(ALICE, more=1),
    auth(ALICE, topic="news/a"),
    auth(ALICE, id=[]),
    line(command="auth"),
    line(command="Auth", token=ALICE),
    line(command="send", token=ALICE),
    line(token=ALICE),
    line(command="auth", TOKEN=ALICE),
    b"[%s]\n" % auth(ALICE).strip(),
    auth(ALICE).strip() + b"," + auth(ALICE),
    auth(ALICE).replace(b'"', b"'"),
    auth(ALICE)[:-2] + b"\n",
    b"\xef\xbb\xbf" + auth(ALICE),
    auth(ALICE).replace(b'{"', b'{"\x00'),
    b"\x00" + auth(ALICE),
    b"\xff\n",
    b"\n",
    b"\n\n\n",
    b"quit\n",
    b"[]\n",
    b"null\n",
    b"[" * 60_000 + b"\n",
    b"x" * 70_000 + b"\n",
    b"x" * 2_000_000,
    auth("x" * 65_000),
    auth("x" * 70_000),
    send("news/a"),
    subscribe("news/a"),
    line(command="refused", topic="", reason="hm", token=ALICE),
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 500 + b"\n",
]


@pytest.mark.parametrize("first", FIRST_LINES, ids=lambda first: repr(first[:40]))
async def test_a_client_that_is_not_known_gets_nothing_done(port: int, first: bytes) -> None:
    answers = await talk(port, first, auth(ALICE), send("news/x"), subscribe("news/x"))
    assert verdicts(answers) in (["Not known"], [])
    assert len(await talk(port, auth(ALICE), subscribe("news/x"))) == 2  # nothing was sent there


async def test_a_browser_that_knows_a_token_gets_nothing_done(port: int) -> None:
    reader, writer = await asyncio.open_connection(HOST, port)
    with closing(writer):
        head = b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n"
        writer.write(head + auth(ALICE) + send("news/x"))
        assert (await reader.read()).startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert len(await talk(port, auth(ALICE), subscribe("news/x"))) == 2  # nothing was sent there


async def test_a_door_that_forgets_its_verdict_allows_nothing(door: Callable[..., Any]) -> None:
    class Forgetful(secure.Door):
        def judge(self, *_: object) -> Any: ...

    server = door()
    server.__class__ = Forgetful
    async with served(server) as port:
        heard = await talk(port, auth(ALICE), send("news/a"))
    assert [each["reason"] for each in heard if "error" not in each and not each["success"]] == []
    assert sum("error" in each for each in heard) == 1
    async with served(door()) as port:
        assert len(await talk(port, auth(ALICE), subscribe("news/a"))) == 2


async def test_a_token_spelled_otherwise_gets_neither_into_a_log_nor_into_a_file(
    door: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever is no command is stopped at the door."""
    data = tmp_path / "messages.db"
    spelled = [
        b'{"command": "auth", "\\u0074oken": "SECRET"}\n',
        b'{"command": "auth", "tok\\u0065n": "SECRET", "id": 1}\n',
        b"{'command': 'auth', 'token': 'SECRET'}\n",
        b'["SECRET"]\n',
        b"SECRET\n",
    ]
    with caplog.at_level(logging.INFO, "stages"):
        async with served(door(fast.Server(data=str(data)))) as port:
            answers = await talk(port, auth(ALICE), *spelled)
    assert len(verdicts(answers)) == 1 + len(spelled)
    for file in (data, data.with_name("messages.db-wal")):
        assert not file.exists() or b"SECRET" not in file.read_bytes()
    assert "SECRET" not in caplog.text


async def test_there_is_no_second_try_and_no_change_of_user(port: int) -> None:
    assert verdicts(await talk(port, auth("wrong"), auth(ALICE), send("news/a"))) == ["Not known"]
    assert verdicts(await talk(port, auth(BOB), auth(ALICE), send("news/a"))) == [
        True,
        "Malformed json message",
        "Not allowed",
    ]


# What may be said


@pytest.mark.parametrize("topic", ["news/", "news/a", "news/a/b", "news/*", "news/\n", "jobs"])
async def test_what_a_right_allows_is_done(port: int, topic: str) -> None:
    assert verdicts(await talk(port, auth(ALICE), send(topic, id=1))) == [True, True]


NOT_HERS = [
    *("news", "News/a", " news/a", "new", "", "*", "job", "jobs2", "jobs ", "jobs\x00", "jobs/"),
    *("[jn]*", "news\n/", "\nnews/a", "salaries", "news∕a", "ｎews/a", "ne\u0000ws/a", "n\u0435ws/a"),
    *("../news/a", "./news/a", "NEWS/a", "news%2fa", "news\\/a", "jobſ", "ｊobs"),
]  # fmt: skip


@pytest.mark.parametrize("topic", NOT_HERS, ids=repr)
async def test_nothing_is_allowed_that_no_rule_allows(port: int, topic: str) -> None:
    answers = await talk(port, auth(ALICE), send(topic), subscribe(topic))
    assert verdicts(answers) == [True, "Not allowed", "Not allowed"]
    assert len(await talk(port, auth(EVERYBODY), subscribe(topic))) == 2  # nothing was sent


async def test_each_right_is_for_its_own_command(port: int) -> None:
    assert verdicts(await talk(port, auth(ALICE), subscribe("jobs"), send("jobs"))) == [
        True,
        "Not allowed",
        True,
    ]
    assert verdicts(await talk(port, auth(BOB), subscribe("any"), send("any"))) == [
        True,
        True,
        "Not allowed",
    ]


async def test_to_acknowledge_and_to_unsubscribe_need_no_right(port: int) -> None:
    for command in (
        line(command="unsubscribe", topic="salaries"),
        line(command="ack", topic="salaries", index=0),
    ):
        (_, answer) = await talk(port, auth(ALICE), command)
        assert answer.get("reason") != "Not allowed"


async def test_a_refusal_is_the_same_whether_the_topic_exists_or_not(port: int) -> None:
    await talk(port, auth(EVERYBODY), send("salaries"))
    asked = [subscribe(topic, id=7) for topic in ("salaries", "nothing")]
    _, first, second = await talk(port, auth(ALICE), *asked)
    assert first == second


async def test_refusals_keep_the_order_of_answers(port: int) -> None:
    said = [send(topic, id=n) for n, topic in enumerate(["jobs", "no", "jobs", "no", "no", "jobs"])]
    answers = await talk(port, auth(ALICE), *said)
    assert [each["id"] for each in answers[1:]] == [0, 1, 2, 3, 4, 5]
    assert verdicts(answers)[1:] == [True, "Not allowed", True, "Not allowed", "Not allowed", True]
    *_, answer = answers[:3]
    assert answer["detail"] == "alice may not send here"


TRICKS = [
    b'{"command": "send", "topic": "news/a", "topic": "salaries", "msg": "x", "delivery": "all"}\n',
    b'{"command": "unsubscribe", "command": "send", "topic": "salaries", "msg": "x", "delivery": '
    b'"all"}\n',
    b'{"command": "\\u0073end", "topic": "\\u0073alaries", "msg": "x", "delivery": "all"}\n',
    b'{"command": "send", "topic": "salaries", "msg": "x", "delivery": "all", "id": {}}\n',
    b'{"command": "send",\r"topic": "salaries", "msg": "x", "delivery": "all"}\n',
    b'{"command": "send", "topic": "salaries", "msg": "\\ud800", "delivery": "all"}\n',
    b'  {"command": "send", "topic": "salaries", "msg": "x", "delivery": "one"}  \r\n',
    b'{"command": "refused", "topic": "salaries", "reason": "x"}\n',
    b'{"command": "refused", "topic": "", "reason": "x", "detail": "y", "id": 1}\n',
]


@pytest.mark.parametrize("trick", TRICKS, ids=lambda trick: repr(trick[:60]))
async def test_a_line_means_the_same_to_the_door_and_to_the_queue(port: int, trick: bytes) -> None:
    answers = verdicts(await talk(port, auth(ALICE), trick))[1:]
    assert answers in (["Not allowed"], ["Malformed json message"])
    assert len(await talk(port, auth(EVERYBODY), subscribe("salaries"))) == 2


async def test_what_is_no_command_is_answered_as_ever(port: int) -> None:
    for bad in (
        b"hello\n",
        b"\xff\n",
        b"[]\n",
        b"{}\n",
        b"x" * (LIMIT + 1) + b"\n",
        b" " * LIMIT + b"\n",
        b" " * (LIMIT + 1) + b"\n",
        b'{"id": 1}\n',
        b'{"command": "refused", "topic": "news/a", "reason": "x", "id": 1}\n',
    ):
        plain = fast.Server()
        async with served(plain) as undefended:
            expected = await talk(undefended, bad)
        assert (await talk(port, auth(ALICE), bad))[1:] == expected


@pytest.mark.parametrize("stage", [durable, fast, cluster], ids=lambda stage: stage.__name__)
async def test_it_stands_in_front_of_any_of_the_last_stages(stage: Any, tmp_path: Path) -> None:
    path = tmp_path / "users.toml"
    path.write_text(USERS)
    where: dict[str, Any] = (
        {"engine": "memory", "log": str(tmp_path)}
        if stage is cluster
        else {"data": str(tmp_path / "messages.db")}
    )
    for expected in (2, 3):  # again after a restart
        behind = stage.Server(**where)
        async with served(secure.Door(behind, users=str(path))) as port:
            said = [auth(EVERYBODY), subscribe("news/a")]
            assert len(await talk(port, *said)) == expected
            assert verdicts(await talk(port, auth(ALICE), send("news/a"), send("no"))) == [
                True,
                True,
                "Not allowed",
            ]


# Those at the door


async def test_one_that_leaves_again_is_no_thief(
    port: int, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(30):
        _, writer = await asyncio.open_connection(HOST, port)
        writer.close()
        await writer.wait_closed()
    assert verdicts(await talk(port, auth(ALICE))) == [True]
    assert "Not known" not in caplog.text


async def test_one_that_says_nothing_is_sent_away(port: int) -> None:
    assert verdicts(await talk(port, quits=False)) == ["Not known"]
    assert verdicts(await talk(port, b"{", quits=False)) == ["Not known"]


async def test_one_that_was_pushed_out_takes_nobody_along(door: Callable[..., Any]) -> None:
    """While it waits for its penalty, others are counted in its place."""
    server = door(login_time=60.0, at_the_door=2)
    async with served(server) as port:
        guesser = asyncio.create_task(talk(port, auth("wrong")))
        while not server.waiting:
            await asyncio.sleep(0)
        for _ in range(2):
            crowd = [await asyncio.open_connection(HOST, port) for _ in range(5)]
            assert [await reader.read() for reader, _ in crowd[:3]] == [b""] * 3
            assert len(server.waiting) == 2
            for _, writer in crowd:
                writer.close()
        await guesser


async def test_of_many_addresses_only_so_many_wait(
    door: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secure, "AT_THE_DOOR", 4)
    async with served(door(login_time=60.0)) as port:
        crowd = await asyncio.gather(
            *[
                asyncio.open_connection(HOST, port, local_addr=(f"127.0.0.{number}", 0))
                for number in range(2, 32)
            ]
        )
        left = {asyncio.create_task(reader.read()) for reader, _ in crowd}
        sent_away = set[asyncio.Task[bytes]]()
        while len(left) > 4:
            gone, left = await asyncio.wait(left, return_when="FIRST_COMPLETED")
            sent_away |= gone
        assert {task.result() for task in sent_away} == {b""}
        assert verdicts(await talk(port, auth(ALICE))) == [True]
        for _, writer in crowd:
            writer.close()
        await asyncio.gather(*left)


class Told:
    """A connection that remembers what was written to it."""

    told = b""

    def write(self, data: bytes) -> None:
        self.told += data

    async def drained(self) -> None:
        """At once."""


async def test_a_flood_of_bad_lines_lets_others_have_their_turn(port: int) -> None:
    """Of lines that take long to refuse, few are read at a time."""
    guarded = asyncio.StreamReader()
    guarded.feed_data(b"1\n" * (10 * guard.TURN - 1))
    guarded.feed_eof()
    connection: Any = Told()
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    said = await guard.Guard(
        guarded, connection, fast.Broker.commands, lambda command: guard.Allowed()
    ).read(2**16)
    counting.cancel()
    assert said == b""
    assert connection.told.count(b"\n") == 10 * guard.TURN - 1
    assert turns == 9


async def test_a_crowd_at_the_door_keeps_nobody_out(door: Callable[..., Any]) -> None:
    async with served(door(login_time=60.0, at_the_door=5)) as port:
        crowd = [await asyncio.open_connection(HOST, port) for _ in range(20)]
        assert verdicts(await talk(port, auth(ALICE))) == [True]
        # Those that have waited longest had to go.
        assert [await reader.read() for reader, _ in crowd[:15]] == [b""] * 15
        for _, writer in crowd:
            writer.close()


async def test_of_many_that_guess_few_are_told(door: Callable[..., Any]) -> None:
    async with served(door(penalty=60.0, at_the_door=5)) as port:
        guessing = [asyncio.create_task(talk(port, auth(str(n)))) for n in range(50)]
        done, waiting = await asyncio.wait(
            guessing, timeout=patient(60), return_when="FIRST_COMPLETED"
        )
        while len(waiting) > 5:
            more, waiting = await asyncio.wait(waiting, return_when="FIRST_COMPLETED")
            done |= more
        assert [task.result() for task in done] == [[]] * 45
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


def test_all_hashes_are_compared_wherever_a_token_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []

    def compare(one: str, other: str) -> bool:
        compared.append(one)
        return one == other

    monkeypatch.setattr("stages.beyond.door.users.hmac.compare_digest", compare)
    known = {name: users.User(users.hash_of(name)) for name in ("a", "b", "c")}
    for token, found in {"a": "a", "c": "c", "x": None, "": None}.items():
        compared.clear()
        assert users.whose(token, known) == found
        assert len(compared) == 3


def test_nobody_has_an_empty_hash() -> None:
    assert users.whose("", {"by certificate only": users.User()}) is None


async def test_no_token_is_in_the_log_or_an_error(
    door: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    server = door()
    with caplog.at_level(logging.DEBUG):
        async with served(server) as port:
            answers = await talk(port, auth(ALICE), send("news/a"), send("sal\x1baries"))
            answers += await talk(port, auth(f"{ALICE}?", id=1))
            with pytest.raises(wire.Error, match="Not known") as refused:
                await Client.connect(port, HOST, token=f"{ALICE}?")
            async with await Client.connect(port, HOST, token=ALICE) as client:
                told = repr(client)
            answers += await talk(port, auth(BOB), auth(ALICE), auth(ALICE, more=1))
            answers += await talk(port, auth(BOB), auth(ALICE)[:-3] + b"\n")
        async with served(secure.Door(users="")) as port:
            answers += await talk(port, auth(ALICE))
    assert "Not allowed: 'alice' to send 'sal\\x1baries'" in caplog.text
    assert "Not known: a client from 127.0.0.1" in caplog.text
    for text in (caplog.text, str(answers), str(refused.value), repr(server), told):
        assert ALICE not in text


# The users


@pytest.mark.parametrize(
    ("text", "of"),
    [
        ("[alice]\nsend = 7", ", of 'alice'"),
        ("alice = 7", ", of 'alice'"),
        ('[alice]\nsha256 = "abc"', ", of 'alice'"),
        ("[alice]\nsha256 = 7", ", of 'alice'"),
        ('[alice]\n[bob]\nsends = ["x"]', ", of 'bob'"),
        ("[alice", ""),
        ("\xff", ""),
        (None, ""),
    ],
)
def test_a_bad_file_of_users_is_one_clear_line(tmp_path: Path, text: str | None, of: str) -> None:
    path = tmp_path / "bad.toml"
    if text is not None:
        path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match="cannot use the users in ") as problem:
        secure.Door(users=str(path))
    assert str(problem.value).startswith(f"cannot use the users in {path}{of}: ")
    assert "\n" not in str(problem.value)


async def test_an_empty_file_lets_nobody_in(tmp_path: Path) -> None:
    (tmp_path / "empty.toml").write_text("")
    async with served(secure.Door(users=str(tmp_path / "empty.toml"), penalty=0.01)) as port:
        assert verdicts(await talk(port, auth(ALICE))) == ["Not known"]
        assert verdicts(await talk(port, auth(""))) == ["Not known"]


def write(server: Any, text: str) -> None:
    Path(server.users).write_text(text)


async def test_who_has_other_rights_must_come_in_again(door: Callable[..., Any]) -> None:
    server = door()
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(served(server))
        peers = [
            await Peer.connect(HOST, port, speaks_json=True, token=token)
            for token in (EVERYBODY, EVERYBODY)
        ]
        for peer in peers:
            stack.callback(peer.close)
            await peer.settle()
        write(server, "no [ TOML")
        server.reload()
        assert verdicts(await talk(port, auth(ALICE))) == [True]  # those of before stay
        write(server, users.entry("everybody", EVERYBODY, ["*"], ["*"]))
        server.reload()
        for peer in peers:
            await peer.settle()  # nothing has changed for them
        assert verdicts(await talk(port, auth(ALICE))) == ["Not known"]
        write(server, users.entry("everybody", EVERYBODY, ["*"], ["news"]))
        server.reload()
        for peer in peers:
            assert await peer.reader.read() is not None
            assert peer.reader.at_eof()
        assert verdicts(await talk(port, auth(EVERYBODY), subscribe("x"))) == [True, "Not allowed"]


# TLS


@pytest.fixture
def pem(tmp_path: Path) -> str:
    path = tmp_path / "server.pem"
    CA.issue_cert("localhost", HOST).private_key_and_cert_chain_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture
async def tls_port(door: Callable[..., Any], pem: str) -> AsyncIterator[int]:
    async with served(door(certificate=pem)) as port:
        yield port


async def test_over_tls_all_is_the_same(tls_port: int) -> None:
    heard = await talk(tls_port, auth(ALICE), subscribe("news/a"), send("news/a"), **OVER_TLS)
    assert verdicts(heard) == [True, True, True]


@pytest.mark.parametrize("encrypted", [False, True])
async def test_nobody_on_the_way_reads_along(
    door: Callable[..., Any], pem: str, encrypted: bool
) -> None:
    how = OVER_TLS if encrypted else {}
    async with (
        served(door(certificate=pem if encrypted else "")) as there,
        Relay(HOST, there) as relay,
    ):
        said = [auth(ALICE), send("news/secret"), subscribe("news/secret")]
        assert verdicts(await talk(relay.port, *said, **how)) == [True, True, True]
    for secret in (ALICE.encode(), b"news/secret", b"subscribe", b"success"):
        assert (secret in relay.passed) != encrypted


async def test_plain_text_at_a_tls_port_gets_no_answer_and_the_reverse(
    tls_port: int, port: int
) -> None:
    assert await talk(tls_port, auth(ALICE)) == []
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await talk(port, auth(ALICE), **OVER_TLS)
    assert verdicts(await talk(tls_port, auth(ALICE), **OVER_TLS)) == [True]


@pytest.mark.parametrize("impostor", ["other authority", "other name", "expired"])
async def test_a_client_talks_to_no_impostor(
    door: Callable[..., Any], tmp_path: Path, impostor: str
) -> None:
    path = str(tmp_path / "impostor.pem")
    past = datetime.datetime(2001, 1, 1, tzinfo=datetime.UTC)
    certificate = {
        "other authority": lambda: trustme.CA().issue_cert("localhost"),
        "other name": lambda: CA.issue_cert("somebody.else"),
        "expired": lambda: CA.issue_cert("localhost", not_before=past, not_after=past),
    }[impostor]()
    certificate.private_key_and_cert_chain_pem.write_to_path(path)
    async with served(door(certificate=path)) as port:
        how: Any = {"host": "localhost", "token": ALICE, "ssl": trusting()}
        with pytest.raises(ssl.SSLCertVerificationError):
            await Client.connect(port, **how)
        with pytest.raises(ssl.SSLCertVerificationError):
            await anext(follow(port, "news/a", **how))


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
async def test_old_tls_is_refused(tls_port: int) -> None:
    context = trusting()
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await talk(tls_port, auth(ALICE), ssl=context, server_hostname="localhost")


async def test_a_stream_that_is_cut_leaves_the_others_served(tls_port: int) -> None:
    async with Relay(HOST, tls_port, cut_after=2500) as relay:
        with suppress(ssl.SSLError, OSError, EOFError):
            await talk(relay.port, auth(ALICE), *[send("news/a")] * 100, **OVER_TLS)
    assert verdicts(await talk(tls_port, auth(ALICE), **OVER_TLS)) == [True]


async def test_a_certificate_may_say_who_a_client_is(
    door: Callable[..., Any], tmp_path: Path, pem: str
) -> None:
    ca = str(tmp_path / "ca.pem")
    CA.cert_pem.write_to_path(ca)
    async with served(door(certificate=pem, client_ca=ca)) as port:
        for name, expected in {"alice": [True, "Not allowed"], "mallory": ["Not known"]}.items():
            context = trusting()
            CA.issue_cert(f"{name}@example.org", common_name=name).configure_cert(context)
            how: Any = {"ssl": context, "server_hostname": "localhost"}
            assert verdicts(await talk(port, send("jobs"), send("salaries"), **how)) == expected
        with suppress(ssl.SSLError, ConnectionError):
            assert await talk(port, auth(ALICE), **OVER_TLS) == []


@pytest.mark.parametrize("text", ["", "no certificate", None])
def test_a_bad_certificate_is_one_clear_line(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "bad.pem"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match=r"cannot use .*bad\.pem for TLS: ") as problem:
        secure.Door(users="", certificate=str(path))
    assert "\n" not in str(problem.value)
    with pytest.raises(ValueError, match="need a `certificate`"):
        secure.Door(users="", key=str(path))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal")
@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "TLS"])
async def test_on_sighup_the_users_are_read_anew_and_a_crowd_must_go(
    tmp_path: Path, pem: str, encrypted: bool
) -> None:
    """In a process of its own, with uvloop if that is here."""
    path = tmp_path / "users.toml"
    path.write_text(USERS)
    how = OVER_TLS if encrypted else {}
    settings = ["--users", str(path), "--at-the-door", "5", "--login-time", "60"]
    settings += ["--certificate", pem] if encrypted else []
    async with AsyncExitStack() as stack:
        process, port = stack.enter_context(started("stages.beyond.secure", "0", *settings))
        crowd = [await asyncio.open_connection("localhost", port, **how) for _ in range(12)]
        for _, writer in crowd:
            stack.callback(writer.transport.abort)
        for reader, _ in crowd[:7]:
            assert await reader.read() == b""
        known = [await asyncio.open_connection("localhost", port, **how) for _ in range(3)]
        for reader, writer in known:
            stack.callback(writer.transport.abort)
            writer.write(auth(ALICE))
            assert json.loads(await reader.readline()) == {"success": True}
        path.write_text("")
        process.send_signal(signal.SIGHUP)
        for reader, _ in known:
            assert await reader.read() == b""
        reader, writer = await asyncio.open_connection("localhost", port, **how)
        stack.callback(writer.transport.abort)
        writer.write(auth(ALICE))  # it has not ended of the signal
        assert json.loads(await reader.readline())["reason"] == "Not known"


# Where it listens


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stages.beyond.secure", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=patient(60))


def test_without_users_and_tls_it_listens_on_this_machine_only(tmp_path: Path, pem: str) -> None:
    path = tmp_path / "users.toml"
    path.write_text(USERS)
    for half in (["--users", str(path)], ["--users", "", "--certificate", pem], ["--users", ""]):
        result = run("0", "--host", "0.0.0.0", *half)
        assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
        assert "expected both, or an address of this machine" in result.stderr


async def test_with_both_it_listens_to_all(door: Callable[..., Any], pem: str) -> None:
    async with serve.listening(door(certificate=pem), "0.0.0.0", 0) as port:
        assert verdicts(await talk(port, auth(ALICE), **OVER_TLS)) == [True]


async def test_any_other_stage_warns_when_it_listens_to_all(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serve.listening(fast.Server(), "0.0.0.0", 0):
        assert "Whoever can reach 0.0.0.0 can read and write everything here" in caplog.text
    caplog.clear()
    async with serve.listening(fast.Server(), HOST, 0):
        assert caplog.text == ""


def test_a_new_user_gets_a_token_once(tmp_path: Path) -> None:
    made = run("new-user", "alice", "--send", "news/*", "jobs", "--subscribe", "*")
    assert made.returncode == 0
    path = tmp_path / "users.toml"
    path.write_text(made.stdout)
    token = made.stderr.split()[-1]
    assert token not in made.stdout
    known = users.load(str(path))
    assert users.whose(token, known) == "alice"
    assert (known["alice"].send, known["alice"].subscribe) == (("news/*", "jobs"), ("*",))
    assert run("new-user", "alice").stderr.split()[-1] != token
    odd = run("new-user", '😀 "', "--send", "news/😀", 'a"b\\c').stdout
    path.write_text(odd, encoding="utf-8")
    assert users.load(str(path))['😀 "'].send == ("news/😀", 'a"b\\c')
    refused = run("new-user", "eve", "--send", "a\x7fb")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    refused = run("new-user", " ")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)


def test_the_stage_behind_it_has_its_flags() -> None:
    assert "--engine" in run("--stage", "cluster", "--help").stdout
    assert "--engine" not in run("--help").stdout
    result = run("0", "--stage", "basic")
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)


# The client


async def test_the_client_says_who_it_is(tls_port: int) -> None:
    how: Any = {"host": "localhost", "token": ALICE, "ssl": trusting()}
    async with await Client.connect(tls_port, **how) as client:
        await client.send("news/a", "hello")
        with pytest.raises(wire.Error, match="Not allowed"):
            await client.send("salaries", "hello")
        messages = follow(tls_port, "news/a", **how)
        assert (await anext(messages))["msg"] == "hello"
        await messages.aclose()
    how["token"] = EVERYBODY
    async with await Client.connect(tls_port, **how) as client:
        await client.send("jobs", "wash", delivery="one")
        jobs = work(tls_port, "jobs", **how)
        assert (await anext(jobs))["msg"] == "wash"
        await jobs.aclose()
    for wrong_token in ("wrong", ""):
        with pytest.raises(wire.Error, match="Not known"):
            await anext(follow(tls_port, "news/a", **how | {"token": wrong_token}))


async def test_without_a_token_the_client_is_told(port: int) -> None:
    with pytest.raises(wire.Error, match="Not known"):
        await Client.connect(port, HOST)


def test_the_terminals_client_takes_the_token_from_the_environment(
    tmp_path: Path, pem: str
) -> None:
    path, ca = tmp_path / "users.toml", tmp_path / "ca.pem"
    path.write_text(USERS)
    CA.cert_pem.write_to_path(str(ca))
    settings = ["--users", str(path), "--certificate", pem]
    with started("stages.beyond.secure", "0", *settings) as (_, port):
        command = [sys.executable, "-m", "stages.client", str(port), "--ca", str(ca)]
        for token, expected in {ALICE: (0, ""), "wrong": (1, "Not known")}.items():
            result = subprocess.run(
                [*command, "send", "news/a", "hello"],
                capture_output=True,
                text=True,
                timeout=patient(60),
                env={"STAGES_TOKEN": token},
                cwd=ROOT,
            )
            assert result.returncode == expected[0]
            assert expected[1] in result.stderr
            assert result.stderr.count("\n") <= 1


# All that the stages before it promise, through a token and through TLS


def earlier_claims() -> Iterator[Any]:
    for page in PAGES:
        for name, claim in claims_of(page).items():
            marks = {mark.name for mark in getattr(claim, "pytestmark", [])}
            if not marks & {"until", "by_address"}:  # a relay is no browser
                yield pytest.param(page, name, id=name)


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize(("page", "claim"), list(earlier_claims()))
async def test_the_promises_of_the_stages_before_hold(
    page: str, claim: str, encrypted: bool, tmp_path: Path, pem: str
) -> None:
    path = tmp_path / "users.toml"
    path.write_text(USERS)

    def server() -> secure.Door:
        behind = fast.Server(data=str(tmp_path / "messages.db"), cache_length=100)
        return secure.Door(behind, users=str(path), certificate=pem if encrypted else "")

    context = trusting() if encrypted else None
    bench = Bench(server, tmp_path, speaks_json=True, token=EVERYBODY, ssl=context)
    await bench.run(claims_of(page)[claim], partial(Relay, token=EVERYBODY, ssl=context))


@pytest.mark.parametrize("name", wrong.WRONG)
async def test_a_wrong_door_is_caught(
    name: str, door: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    claim, arguments, owner, attribute, instead = wrong.WRONG[name]
    monkeypatch.setattr(owner, attribute, instead)
    async with served(door()) as port:
        with pytest.raises(AssertionError):
            await globals()[claim](port=port, **arguments)


# Known clients, while others try


async def test_nobody_at_the_door_makes_a_known_client_wait(door: Callable[..., Any]) -> None:
    """No timing assert: the client's commands are answered while each of the others still waits."""
    async with served(door(login_time=60.0, penalty=60.0)) as port:
        peer = await Peer.connect(HOST, port, speaks_json=True, token=EVERYBODY)
        with closing(peer):
            crowd = [await asyncio.open_connection(HOST, port) for _ in range(200)]
            for number, (_, writer) in enumerate(crowd):
                writer.write([b"", b"{", auth("wrong"), b"x" * 60_000][number % 4])
            for _ in range(20):
                await peer.send("news", "x")
            for _, writer in crowd:
                writer.transport.abort()
