"""Lesson 11: a log written by hand, to see what replicas make of it."""

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from stages.beyond.log.replica import CLIENTS, Proposal, Replica
from stages.beyond.log.shared import Record


class LogByHand:
    """Records as servers would write them, which these replicas apply at once."""

    def __init__(self, *replicas: Replica) -> None:
        self.replicas = list(replicas)
        self.records: list[Record] = []
        self.written: dict[str, int] = {}  # proposals, by server
        self.first: dict[str, int] = {}  # the number of each server: the first has 1
        self.time = 1000.0

    def say(self, server: str, client: int, *commands: dict[str, Any]) -> None:
        """A client (0, 1, 2 …) of a server says something."""
        self.write(server, [(client, "\n".join(map(json.dumps, commands)).encode())])

    def write(
        self, server: str, inputs: Sequence[tuple[int, bytes | None]] = (), leaves: bool = False
    ) -> None:
        """Write the next proposal of a server; its first says only that it is there."""
        self.written[server] = self.written.get(server, 0) + 1
        first = self.first.setdefault(server, len(self.first) + 1) * CLIENTS
        said = [(first + client, data) for client, data in inputs]
        self.put(Proposal(server, self.written[server], said, leaves))

    def put(self, proposal: Proposal) -> None:
        self.records.append(Record(len(self.records) + 1, self.time, proposal.encoded()))
        for replica in self.replicas:
            replica.apply(self.records[-1])

    def repeat(self) -> None:
        """Write the last record once more, as an engine may."""
        self.put(msgspec.msgpack.decode(self.records[-1].data, type=Proposal))
