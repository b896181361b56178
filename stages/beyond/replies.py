"""JSON on the wire, and every command is answered.

    alice > {"command": "subscribe", "topic": "foo"}
    alice < {"success": true}
    bob   > {"command": "send", "topic": "foo", "msg": "blah", "delivery": "all"}
    alice < {"command": "send", "topic": "foo", "msg": "blah", "delivery": "all", "index": 0}
    bob   < {"success": true}

Source: the author's own next step, *Writing a simple Python async message queue server, Part III* (22 May 2024). A
client of that server cannot tell the difference, unless it uses our additions: `id`, `detail` and `missed`.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from stages import disconnects, serve, wire
from stages.beyond import open_files

log = logging.getLogger("stages")

LIMIT = 2**20
"""The longest line accepted, in bytes."""

NOT_UTF8 = "Could not decode input as UTF-8"
NOT_JSON = "Could not parse json"  # also of a line that is too long, for we have only its beginning
MALFORMED = "Malformed json message"


class Command(msgspec.Struct, kw_only=True, tag_field="command", forbid_unknown_fields=True):
    """What every command has. An `id` comes back in the answer, then with the `detail` of what is wrong."""

    topic: str
    id: str | int | UnsetType = UNSET


class Subscribe(Command, tag="subscribe"):
    last_seen: int | UnsetType = UNSET
    cache: bool = True


class Unsubscribe(Command, tag="unsubscribe"):
    pass


class Send(Command, tag="send"):
    msg: str
    delivery: Literal["all", "one"]
    cache: bool = True


class Server(disconnects.Server):
    """A queue that says how each command went."""

    schema: Any = Subscribe | Unsubscribe | Send

    def __init__(self, **earlier: Any) -> None:
        super().__init__(**earlier)
        # Of each topic, how many messages the cache has evicted, and the index of the last one.
        self.evicted: dict[str, tuple[int, int]] = {}

    @staticmethod
    def encode(message: wire.Command) -> bytes:
        return f"{json.dumps(message)}\r\n".encode()

    def lines(self, reader: asyncio.StreamReader, client: wire.Client) -> AsyncIterator[bytes]:
        return wire.read_lines(reader, LIMIT)

    def handle(self, line: bytes, client: wire.Client) -> None:
        """Carry out one line, which answers it, or answer what is wrong with it."""
        try:
            command = decode(line)
            self.check(command)
        except wire.Error as error:
            log.info("Rejected: %s", error)
            self.answer(client, {}, success=False, reason=str(error))
        except msgspec.ValidationError as error:
            log.info("Rejected: %s", error)
            self.answer(client, command, success=False, reason=MALFORMED, detail=str(error))
        else:
            getattr(self, command["command"])(command, client)

    def check(self, command: wire.Command) -> None:
        """Raise `msgspec.ValidationError` unless every field is as it must be."""
        try:
            msgspec.convert(command, self.schema)
        except UnicodeEncodeError:
            raise msgspec.ValidationError("Half a surrogate pair where no text is free") from None

    def answer(self, client: wire.Client, command: Any, **fields: Any) -> None:
        """Tell a client how its command went; the `detail` only if the command has an `id`."""
        if isinstance(command, dict) and type(command.get("id")) in (str, int):
            fields["id"] = command["id"]
        else:
            fields.pop("detail", None)
        client.write(self.encode(fields))

    def replay(self, command: wire.Command, client: wire.Client) -> None:
        """Answer a `subscribe` first; then catch the subscriber up, unless it wants nothing from the cache."""
        missed = self.missed(command)
        self.answer(client, command, success=True, **({"missed": missed} if missed else {}))
        if command.get("cache", True):
            super().replay(command, client)

    def missed(self, command: wire.Command) -> int:
        """How many messages after `last_seen` the cache has evicted: exactly, as long as it has kept every message."""
        evicted, last = self.evicted.get(command["topic"], (0, -1))
        return max(0, min(evicted, last - command["last_seen"])) if "last_seen" in command else 0

    def unsubscribe(self, command: wire.Command, client: wire.Client) -> None:
        """Let the client hear no more of the topic."""
        topics = self.topics_of.get(client, set())
        if command["topic"] in topics:
            topics.remove(command["topic"])
            self.leave(command["topic"], client)
        self.answer(client, command, success=True)

    def send(self, command: wire.Command, client: wire.Client) -> None:
        # The `id` is between the sender and us.
        super().send({field: value for field, value in command.items() if field != "id"}, client)
        self.answer(client, command, success=True)

    def keep(self, message: wire.Command) -> None:
        if message.get("cache", True):
            cache = self.caches.get(message["topic"], ())
            if len(cache) == self.cache_length:
                self.evict(cache[0] if cache else message)
            super().keep(message)

    def evict(self, message: wire.Command) -> None:
        """Count a message that leaves the cache unseen by those who come later."""
        evicted, _ = self.evicted.get(message["topic"], (0, -1))
        self.evicted[message["topic"]] = evicted + 1, message["index"]


def decode(line: bytes) -> Any:
    """What the line spells. Raises `wire.Error` with the reason if it spells nothing."""
    if len(line) > LIMIT:
        raise wire.Error(NOT_JSON)
    try:
        return json.loads(line.decode())
    except UnicodeDecodeError:
        raise wire.Error(NOT_UTF8) from None
    except (ValueError, RecursionError):
        raise wire.Error(NOT_JSON) from None


if __name__ == "__main__":
    open_files.allow_many()
    serve.main(Server)
