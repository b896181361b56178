"""The rules beyond the article, without a server: what goes in, and what comes out. The time is an
argument."""

import json
from typing import Any

from stages.beyond import acks
from stages.beyond.broker import Batch, Rules
from stages.beyond.broker.commands import Message

ALICE, BOB, CAROL, BOSS = 1, 2, 3, 4


class Bench:
    """A broker, and clients that are numbers."""

    def __init__(self, **settings: Any) -> None:
        self.broker = acks.Broker(Rules(**{"seed": 42, "ack_timeout": 10.0} | settings))
        self.time = 0.0

    def batch(
        self, *inputs: tuple[int, bytes | None], time: float | None = None
    ) -> list[tuple[int, Any]]:
        """Carry out a batch; returns who is sent what, one after the other."""
        self.time = self.time if time is None else time
        parts = self.broker.carry_out(Batch(self.time, list(inputs)))
        return [
            (client, each)
            for part in parts
            for clients, what in part
            for each in what
            for client in clients
        ]

    def say(
        self, client: int, command: str, topic: str = "jobs", **fields: Any
    ) -> list[tuple[int, Any]]:
        return self.batch(
            (client, json.dumps({"command": command, "topic": topic, **fields}).encode())
        )

    def work(self, client: int, **fields: Any) -> list[tuple[int, Any]]:
        return self.say(client, "subscribe", ack=True, **fields)

    def job(self, *msgs: str, **fields: Any) -> list[tuple[int, Any]]:
        return [
            each
            for msg in msgs
            for each in self.say(BOSS, "send", msg=msg, delivery="one", **fields)
        ]

    def leaves(self, client: int) -> list[tuple[int, Any]]:
        return self.batch((client, None))


def jobs(sent: list[tuple[int, Any]]) -> list[tuple[int, str, bool]]:
    """Who got which job, and whether it comes again."""
    return [
        (client, each.msg, each.redelivered) for client, each in sent if isinstance(each, Message)
    ]


def answers(sent: list[tuple[int, Any]]) -> list[Any]:
    return [each for _, each in sent if isinstance(each, dict)]


SUCCESS = {"success": True}
