r"""The JSON wire as types: bytes <-> commands, answers and messages; and the reasons a server
may refuse with.

    b'{"command": "subscribe", "topic": "foo"}'  ->  Subscribe(topic="foo")
    {"success": True}                            ->  b'{"success":true}\r\n'

Source: the author's own next step, *Writing a simple Python async message queue server, Part III*.
"""

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

LIMIT = 2**20
"""The longest line accepted, in bytes."""

NOT_UTF8 = "Could not decode input as UTF-8"
NOT_JSON = "Could not parse json"  # also for a line that is too long: only its beginning was kept
MALFORMED = "Malformed json message"
FULL = "Full"
NOTHING_TO_ACKNOWLEDGE = "Nothing to acknowledge"
NOT_ALLOWED = "Not allowed"
# A server that ends a connection says why, too: see `server/connection.py`.

TopicName = Annotated[str, Meta(max_length=255)]
Id = str | int | UnsetType


class Command(Struct, kw_only=True, tag_field="command", forbid_unknown_fields=True, gc=False):
    """What every command has. An `id` comes back in the answer, then with the `detail` of what is
    wrong. (`gc=False`: it holds nothing that could hold it, so Python need not look for cycles.)"""

    topic: TopicName
    id: Id = UNSET


class Subscribe(Command, tag="subscribe"):
    last_seen: int | UnsetType = UNSET
    cache: bool = True


class SubscribeToWork(Subscribe, tag="subscribe"):
    """With acknowledgements."""

    ack: bool = False
    prefetch: Annotated[int, Meta(ge=1, le=10_000)] | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.prefetch is not UNSET and not self.ack:
            raise ValueError(
                "`prefetch` counts unacknowledged messages: expected `ack`: true with it"
            )


class Unsubscribe(Command, tag="unsubscribe"):
    pass


class Send(Command, tag="send"):
    msg: str
    delivery: Literal["all", "one"]
    cache: bool | UnsetType = UNSET


class Ack(Command, tag="ack"):
    index: int


class Message(
    Struct, kw_only=True, tag_field="command", tag="send", frozen=True, omit_defaults=True, gc=False
):
    """What a subscriber receives: what the sender sent, numbered."""

    topic: str
    msg: str
    delivery: Literal["all", "one"]
    cache: bool | UnsetType = UNSET
    index: int
    redelivered: bool = False


Answer = dict[str, Any]
"""What a command is answered with: `success`, true or false; then `reason`, `detail`, `missed`, and
the `id`."""


UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

Line = bytes | Message | Answer
"""What a client is sent; bytes are one or more lines that are encoded already."""


class Rejected(ValueError):
    """A line is no command. `id` is the one to answer it with, if it has one."""

    def __init__(self, reason: str, detail: str = "", id: Id = UNSET) -> None:
        super().__init__(detail or reason)
        self.reason = reason
        self.detail = detail
        self.id = id


def refusal(rejected: Rejected) -> Answer:
    """The answer to a line that is refused; with the `detail` only if it has an `id`."""
    answer: Answer = {"success": False, "reason": rejected.reason}
    if rejected.id is not UNSET:
        answer |= {"detail": rejected.detail, "id": rejected.id}
    return answer


def decode(line: bytes, decoder: msgspec.json.Decoder[Command]) -> Command:
    """Turn a line into one of the commands that `decoder` knows. Raises `Rejected`."""
    if len(line) > LIMIT:
        raise Rejected(NOT_JSON)
    try:
        return decoder.decode(line)
    except UNDECODABLE:
        return decode_slowly(line, decoder.type)


def decode_slowly(line: bytes, commands: object) -> Command:
    """Find out what is wrong with a line, or return the command after all: msgspec rejects half a
    surrogate pair, which Python's decoder accepts."""
    try:
        found = json.loads(line.decode())
    except UnicodeDecodeError:
        raise Rejected(NOT_UTF8) from None
    except (ValueError, RecursionError):
        raise Rejected(NOT_JSON) from None
    try:
        command: Command = msgspec.convert(found, commands)
        return command
    except msgspec.ValidationError as error:
        problem = str(error)
    except RecursionError:
        problem = "Nested too deeply"
    except UnicodeEncodeError:
        problem = "A lone surrogate in a field that must be valid Unicode"
    raise Rejected(MALFORMED, problem, id_of(found))


def id_of(found: object) -> Id:
    """The `id` of a command that is wrong in some other way."""
    id = found.get("id") if isinstance(found, dict) else None
    return id if isinstance(id, str | int) and not isinstance(id, bool) else UNSET


encoder = msgspec.json.Encoder()


def encode(what: Line) -> bytes:
    """Turn a message or an answer into the line that spells it."""
    if isinstance(what, bytes):
        return what
    try:
        return encoder.encode(what) + b"\r\n"
    except UnicodeEncodeError:  # half a surrogate pair: Python's own encoder escapes it
        return f"{json.dumps(msgspec.to_builtins(what))}\r\n".encode()


def encode_all(what: Sequence[Message | Answer]) -> bytes:
    """Turn messages or answers into the lines that spell them, at half the price of one by one."""
    try:
        # No line break can be within a line: JSON escapes it.
        return encoder.encode_lines(what).replace(b"\n", b"\r\n")
    except UnicodeEncodeError:
        return b"".join(map(encode, what))
