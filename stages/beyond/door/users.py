"""Who may do what: the users of a TOML file.

    [alice]
    sha256 = "…"                        of a token of 256 random bits
    send = ["news/*", "jobs"]           a final * stands for all that begin so
    subscribe = ["news/*"]

Nothing is allowed unless a right allows it. To acknowledge, and to unsubscribe, needs none.

Source: what the access control of Redis, NATS and Mosquitto have in common.
"""

import hashlib
import hmac
import json
import secrets
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from stages.beyond.broker.commands import Ack, Command, Send, Subscribe, Unsubscribe


class User(Struct, frozen=True, forbid_unknown_fields=True):
    """A user of the file: the hash of its token, and its rights."""

    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")] = ""  # none: by a certificate only
    send: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()

    def may(self, command: Command) -> bool:
        """Whether a command is within the rights of this user."""
        if isinstance(command, Send):
            return allows(self.send, command.topic)
        if isinstance(command, Subscribe):
            return allows(self.subscribe, command.topic)
        return isinstance(command, Ack | Unsubscribe)


def allows(rights: tuple[str, ...], topic: str) -> bool:
    return any(
        topic.startswith(right[:-1]) if right.endswith("*") else topic == right for right in rights
    )


Users = dict[str, User]
"""By name."""


def load(path: str) -> Users:
    """The users of a file. Raises ValueError, in one line, if it cannot be used."""
    name = ""
    try:
        found, known = msgspec.toml.decode(Path(path).read_bytes()), Users()
        for name, user in found.items():
            known[name] = msgspec.convert(user, User)
    except (OSError, ValueError, RecursionError) as problem:
        where = f", of {name!r}" if name else ""
        raise ValueError(f"cannot use the users in {path}{where}: {problem}") from None
    return known


def whose(token: str, users: Users) -> str | None:
    """The user that a token belongs to. It is compared with those of all, in the same time wherever
    it differs: time tells a guesser nothing."""
    digest = hash_of(token)
    found = [name for name, user in users.items() if hmac.compare_digest(user.sha256, digest)]
    return found[0] if found else None


def hash_of(token: str) -> str:
    """Plain SHA-256 will do: nobody can guess 256 random bits. (A password would need scrypt.)"""
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()


def new_token() -> str:
    return secrets.token_urlsafe(32)


def entry(name: str, token: str, send: list[str], subscribe: list[str]) -> str:
    """The lines of a new user, for the file."""
    lists = [json.dumps(topics, ensure_ascii=False) for topics in (send, subscribe)]
    rights = f"send = {lists[0]}\nsubscribe = {lists[1]}"
    return f'[{json.dumps(name, ensure_ascii=False)}]\nsha256 = "{hash_of(token)}"\n{rights}\n'
