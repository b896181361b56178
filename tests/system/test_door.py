"""What the door of `secure` keeps in mind, and what it says of its files."""

import asyncio
import logging
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from doors import ALICE, CA, HOST, OVER_TLS, USERS, auth, line, served, talk
from programs import BUFFERED, python
from simulated import run

from stages.beyond import secure
from stages.beyond.broker.commands import NOT_ALLOWED, Send
from stages.beyond.door import tls
from stages.beyond.door.guard import Allowed
from stages.beyond.server.connection import Connection
from stages.patience import patient


class Pretended:
    """A connection that can be aborted."""

    aborted = False
    peer = "here"
    told = b""

    def write(self, data: bytes) -> None:
        self.told += data

    def abort(self) -> None:
        self.aborted = True


@pytest.fixture
def open_door() -> Any:
    """A door that asks nobody."""
    return secure.Door(users="", at_the_door=2)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The file of users."""
    path = tmp_path / "users.toml"
    path.write_text(USERS)
    return path


def test_who_waits_longest_must_go_if_too_many_of_an_address_wait(open_door: Any) -> None:
    other, *same = [Pretended() for _ in range(4)]
    with ExitStack() as stack:
        stack.enter_context(open_door.at_door("there", other))
        for waiting in same[:2]:
            stack.enter_context(open_door.at_door("here", waiting))
        assert [each.aborted for each in (other, *same)] == [False] * 4
        stack.enter_context(open_door.at_door("here", same[2]))
        assert [each.aborted for each in (other, *same)] == [False, True, False, False]
    assert open_door.waiting == {}


def test_who_waits_longest_of_all_must_go_if_too_many_wait(
    open_door: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secure, "AT_THE_DOOR", 3)
    crowd = [Pretended() for _ in range(4)]
    with ExitStack() as stack:
        for address, waiting in zip(("a", "b", "c", "c"), crowd, strict=True):
            assert not any(each.aborted for each in crowd)
            stack.enter_context(open_door.at_door(address, waiting))
    assert [each.aborted for each in crowd] == [True, False, False, False]


def test_who_is_not_known_learns_it_later(file: Path) -> None:
    """In simulated time."""

    async def story() -> None:
        door, connection, reader = secure.Door(users=str(file)), Pretended(), asyncio.StreamReader()
        time = asyncio.get_running_loop().time
        reader.feed_data(auth("x"))
        begin = time()
        stranger: Any = connection
        assert await door.welcome(reader, stranger) is None
        assert time() == begin + door.penalty
        assert b"Not known" in connection.told

    run(story())


async def test_who_is_not_known_is_told_so(file: Path) -> None:
    async with served(secure.Door(users=str(file), penalty=0)) as port:
        assert await talk(port, auth("x", id=7)) == [
            {"success": False, "reason": "Not known", "id": 7}
        ]


async def test_nothing_is_kept_of_who_has_left(file: Path) -> None:
    server: Any = secure.Door(users=str(file))
    async with served(server) as port:
        assert len(await talk(port, auth(ALICE), line(command="x"))) == 2
    assert (server.inside, server.waiting) == ({}, {})


def test_once_the_users_have_changed_nothing_more_is_done(file: Path) -> None:
    server: Any = secure.Door(users=str(file))
    (user,) = [user for name, user in server.registered.items() if name == "everybody"]
    principal, connection = secure.Principal("everybody", user), Pretended()
    command = Send(topic="x", msg="y", delivery="all", id=7)
    server.inside[connection] = principal
    assert isinstance(server.judge(connection, principal, command), Allowed)
    file.write_text("")
    server.reload()
    assert connection.aborted
    refused = server.judge(connection, principal, command)
    assert (refused.reason, refused.id) == (NOT_ALLOWED, 7)
    assert "connect again" in refused.detail


def test_users_that_cannot_be_read_are_told_and_change_nothing(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server: Any = secure.Door(users=str(file))
    before = server.registered
    file.write_text("no [ TOML")
    server.reload()
    assert server.registered is before
    (message,) = caplog.messages
    assert message.startswith(f"cannot use the users in {file}: ")
    assert message.endswith(": those of before stay")


def test_where_nobody_is_asked_it_is_told_once_and_there_is_nothing_to_read_anew(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "stages"):
        secure.Door(users=str(file))
        assert caplog.messages == []
        secure.Door(users="").reload()
    assert caplog.messages == ["Nobody is asked who they are: there is no file of users"]


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ({"login_time": 0}, "login_time must be more than 0: got 0"),
        ({"penalty": -1}, "penalty must be at least 0: got -1"),
        ({"at_the_door": 0}, "at_the_door must be at least 1: got 0"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(setting: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        secure.Door(users="", **setting)


# TLS


@pytest.fixture
def pem(tmp_path: Path) -> str:
    path = tmp_path / "own.pem"
    CA.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(path))
    return str(path)


def test_a_key_with_a_password_is_one_clear_line(tmp_path: Path) -> None:
    made = CA.issue_cert("localhost")
    key = load_pem_private_key(made.private_key_pem.bytes(), password=None)
    encrypted = key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )
    path = tmp_path / "encrypted.pem"
    path.write_bytes(encrypted + b"".join(each.bytes() for each in made.cert_chain_pems))
    with pytest.raises(ValueError, match="the key has a password: expected one without") as problem:
        secure.Door(users="", certificate=str(path))
    assert "\n" not in str(problem.value)


@asynccontextmanager
async def over_tls(pem: str) -> AsyncIterator[tuple[Connection, asyncio.StreamReader]]:
    """A connection over TLS, and what comes out at its other end."""
    accepted: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
    context = tls.context(pem, "", "")
    server = await asyncio.start_server(
        lambda _, writer: accepted.put(writer), HOST, 0, ssl=context
    )
    port = server.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection(HOST, port, **OVER_TLS, limit=2**10)
    connection = Connection(await accepted.get())
    yield connection, reader
    connection.abort()
    writer.transport.abort()
    server.close()
    await asyncio.sleep(0)


async def test_what_is_sent_over_tls_has_left_once_there_is_nothing_more(pem: str) -> None:
    async with asyncio.timeout(patient(30)), over_tls(pem) as (connection, reader):
        connection.limit(0)
        await connection.drained()
        connection.write(b"hello\n")
        await connection.drained()
        assert await reader.readline() == b"hello\n"


async def test_a_connection_over_tls_that_was_closed_twice_can_be_asked_anything(pem: str) -> None:
    async with over_tls(pem) as (connection, _):
        for close in [connection.end, connection.writer.close] * 2:
            close()
            assert (connection.closing, connection.certified_name) == (True, None)
            assert isinstance(connection.peer, str)
            assert isinstance(connection.encrypted, bool)
            assert connection.size >= 0
            connection.limit(1)
            connection.write(b"lost\n")
        await connection.drained()
        connection.abort()
        await connection.close()
        assert connection.size == 0


async def test_aborting_disturbs_nobody_who_waits(
    pem: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with over_tls(pem) as (connection, _):
        for _ in range(4):
            connection.write(b"x" * 2**24)
            connection.flush()
        waiting = asyncio.create_task(connection.drained())
        await asyncio.wait([waiting], timeout=0.1)
        assert not waiting.done()
        connection.abort()
        await waiting
    assert caplog.text == ""


# The command line


@pytest.mark.skipif(sys.platform != "linux", reason="has no full disk to try it on")
def test_a_user_that_cannot_be_written_is_one_clear_line() -> None:
    command = python("stages.beyond.secure", "new-user", "alice")
    with open("/dev/full", "w") as full:
        made = subprocess.run(
            command,
            stdout=full,
            stderr=subprocess.PIPE,
            env=BUFFERED,
            text=True,
            timeout=patient(60),
        )
    assert made.returncode == 1
    assert made.stderr.startswith("stages.beyond.secure new-user: cannot write the user: ")
    assert made.stderr.count("\n") == 1
