"""Nobody is in who should not be, and nobody listens in.

    mallory > {"command": "subscribe", "topic": "salaries"}
    mallory < {"success": false, "reason": "Not known"}      after a second, and is disconnected
    alice   > {"command": "auth", "token": "dLM6…"}
    alice   < {"success": true}
    alice   > {"command": "subscribe", "topic": "salaries"}
    alice   < {"success": false, "reason": "Not allowed"}
    alice   > {"command": "send", "topic": "news/sport", "msg": "2:1", "delivery": "all"}
    alice   < {"success": true}

A door in front of a stage: who comes in, and what may be said, is decided before the queue hears of
it. The rules of the queue know nothing of users.

Source: what Redis (ACL, protected mode), NATS (permissions) and Mosquitto agree on: nothing is
allowed unless a rule allows it, the first message says who you are, secrets are stored as hashes,
the transport is TLS, and without all that a server listens on its own machine only.
"""

import asyncio
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import msgspec
from msgspec import UNSET, Struct

from stages import command_line, settings
from stages.beyond import acks, cluster, fast
from stages.beyond.broker import Broker
from stages.beyond.broker.commands import (
    NOT_ALLOWED,
    UNDECODABLE,
    Answer,
    Command,
    Id,
    Rejected,
    encode,
)
from stages.beyond.door import tls, users
from stages.beyond.door.guard import Allowed, Guard, Judge, Verdict
from stages.beyond.door.new_user import new_user
from stages.beyond.door.users import User, Users
from stages.beyond.server.connection import NOT_KNOWN, Connection

logger = logging.getLogger("stages")


AT_THE_DOOR = 1000
"""How many clients of all addresses may wait there; then, too, the longest waiting must go."""


class Auth(Struct, forbid_unknown_fields=True):
    """What a client must say first."""

    command: Literal["auth"]  # and not a tag: a single type's may be missing
    token: str
    id: Id = UNSET


class Principal(Struct, frozen=True):
    """Who a client is, and what that allows."""

    name: str
    user: User

    def judge(self, command: Command) -> Verdict:
        if self.user.may(command):
            return Allowed()
        verb = str(command.__struct_config__.tag)
        logger.warning("Not allowed: %r to %s %r", self.name, verb, command.topic)
        return Rejected(NOT_ALLOWED, f"{self.name} may not {verb} here", command.id)


@dataclass(eq=False)
class Door:
    """A door in front of a stage, for the users of a TOML file. (With --users '' nobody is asked,
    and it listens on this machine only. `new-user NAME` makes the lines of a user; `--stage` says
    which stage is behind: fast, which is the default, or cluster.)"""

    behind: acks.Server = settings.part(fast.Server)
    users: str = settings.setting("users.toml", "the file of users", trial="")
    certificate: str = settings.setting("", "the certificate for TLS, a PEM file with its chain")
    key: str = settings.setting("", "its private key, unless that is in the same file")
    client_ca: str = settings.setting(
        "", "the authority for certificates of clients, whose names are then the users"
    )
    login_time: float = settings.setting(
        5.0, "seconds that a client has to say who it is", more_than=0
    )
    penalty: float = settings.setting(
        1.0, "seconds until a client that is not known is told so", at_least=0
    )
    at_the_door: int = settings.setting(
        10, "clients of one address that have not said yet who they are", at_least=1
    )

    connection_class: ClassVar[type[Connection]] = Connection

    def __post_init__(self) -> None:
        settings.check(type(self), vars(self))
        self.registered: Users | None = users.load(self.users) if self.users else None
        if self.registered is None:
            logger.warning("Nobody is asked who they are: there is no file of users")
        self.tls = tls.context(self.certificate, self.key, self.client_ca)
        self.inside: dict[Connection, Principal] = {}
        self.waiting: dict[Connection, str] = {}  # who is at the door, and from which address

    async def __aenter__(self) -> None:
        await self.behind.__aenter__()

    async def __aexit__(self, *failure: object) -> None:
        await self.behind.__aexit__(*failure)

    def allow_exposure(self) -> None:
        """Raise ValueError unless others than this machine may be let near."""
        if not self.tls or self.registered is None:
            raise ValueError(
                "without --users and --certificate others could come in, or read along: "
                "expected both, or an address of this machine alone"
            )

    # Coming in

    async def handle_client(self, reader: asyncio.StreamReader, connection: Connection) -> None:
        judge: Judge = everything_is_allowed  # nobody is asked
        if self.registered is not None:
            principal = await self.welcome(reader, connection)
            if principal is None:
                return
            self.inside[connection] = principal
            judge = partial(self.judge, connection, principal)
        guard = Guard(reader, connection, self.behind.broker.commands, judge)
        try:
            await self.behind.handle_client(guard, connection)
        finally:
            self.inside.pop(connection, None)

    def judge(self, connection: Connection, principal: Principal, command: Command) -> Verdict:
        """By the rights of a user, as long as they are those that it came in with."""
        if self.inside.get(connection) is not principal:
            return Rejected(NOT_ALLOWED, "the users have changed: connect again", command.id)
        return principal.judge(command)

    async def welcome(
        self, reader: asyncio.StreamReader, connection: Connection
    ) -> Principal | None:
        """Find out who a client is; one that is not known is told so, a little later, since
        guessing must take long. Nobody who is known waits for that."""
        address = connection.peer
        with self.at_door(address, connection), suppress(EOFError, OSError):
            if self.client_ca:
                auth, name = None, connection.certified_name
            else:
                auth = await self.first_line(reader)
                name = users.whose(auth.token, self.registered or {}) if auth else None
            user = (self.registered or {}).get(name or "")
            answer: Answer = {} if auth is None or auth.id is UNSET else {"id": auth.id}
            if name is not None and user is not None:
                if auth:
                    connection.write(encode({"success": True} | answer))
                return Principal(name, user)
            logger.warning("Not known: a client from %s", address)
            await passing_by(reader, self.penalty)
            connection.write(encode({"success": False, "reason": NOT_KNOWN} | answer))
        return None

    @contextmanager
    def at_door(self, address: str, connection: Connection) -> Iterator[None]:
        """Meanwhile, count a client among those that are not known yet. If they are too many, of
        its address or in all, whoever waits longest must go."""
        self.waiting[connection] = address
        same = [each for each, where in self.waiting.items() if where == address]
        if len(same) > self.at_the_door or len(self.waiting) > AT_THE_DOOR:
            longest = same[0] if len(same) > self.at_the_door else next(iter(self.waiting))
            del self.waiting[longest]
            longest.abort()
        try:
            yield
        finally:
            self.waiting.pop(connection, None)

    async def first_line(self, reader: asyncio.StreamReader) -> Auth | None:
        """The first line, if it says who a client is. It is not logged. Raises EOFError if there is
        none."""
        with suppress(TimeoutError, asyncio.LimitOverrunError, *UNDECODABLE):
            async with asyncio.timeout(self.login_time):
                return msgspec.json.decode(await reader.readuntil(b"\n"), type=Auth)
        return None

    def reload(self) -> None:
        """Read the users anew, and send those away that are gone or have other rights."""
        if self.registered is None:
            return
        try:
            found = users.load(self.users)
        except ValueError as problem:
            return logger.error("%s: those of before stay", problem)
        self.registered = found
        for connection, principal in list(self.inside.items()):
            if found.get(principal.name) != principal.user:
                logger.warning("Has other rights, and must come in again: %r", principal.name)
                del self.inside[connection]
                connection.abort()

    # What the lab shows

    @property
    def broker(self) -> Broker[Any]:
        return self.behind.broker

    @property
    def connections(self) -> dict[int, Connection]:
        return self.behind.connections


def everything_is_allowed(command: Command) -> Verdict:
    return Allowed()


async def passing_by(reader: asyncio.StreamReader, seconds: float) -> None:
    """Wait, unless the connection ends before; what is said meanwhile is not kept."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while await reader.read(2**16):
                pass


Server = Door  # so is the class of every stage called


STAGES: dict[str, type[acks.Server]] = {"fast": fast.Server, "cluster": cluster.Server}


def main() -> None:
    """`new-user NAME …`, or the command line of a stage, with `--stage` for the one behind the
    door."""
    if sys.argv[1:2] == ["new-user"]:
        return new_user(sys.argv[2:])
    parser = command_line.Parser(prog="stages.beyond.secure", add_help=False)
    parser.add_argument("--stage", choices=STAGES, default="fast")
    chosen, rest = parser.parse_known_args()
    command_line.main(Door, fast.new_event_loop, rest, behind=STAGES[chosen.stage])


if __name__ == "__main__":
    main()
